"""The API with its queue on Redis: what the store and the queue do together they do one after the other there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from convoq.db import Database
from convoq.errors import DatabaseUnavailable
from convoq.jobs import raw_job
from convoq.queue.base import JobFilter, JobState
from convoq.queue.redis.connection import Scripts, Server
from tests.clock import ManualClock
from tests.console.site import Api, open_api
from tests.console.test_bulk import RETRY, die, problems
from tests.handlers.house import ANA, House, open_house
from tests.servers.redis import RedisServer
from tests.stores import only_sqlite

pytestmark = only_sqlite


@pytest.fixture
async def house(database: Database, clock: ManualClock, redis_server: RedisServer) -> AsyncIterator[House]:
    async with open_house(database, clock, redis=Server(redis_server.url)) as house:
        yield house


@pytest.fixture
async def chat(house: House) -> AsyncIterator[Api]:
    """Ana was answered, and waits again."""
    async with open_api(house) as api:
        await house.hear("are you open?")
        await house.settle()
        await house.hear_at_once("and on Sunday?")
        yield api


async def test_a_message_takes_over_and_goes_out_once(chat: Api, house: House) -> None:
    for _ in range(2):
        written = await chat.post("/conversations/1/messages", {"text": "Until six."}, key="k1")
        assert (written.status, written.document["answers"]) == (202, 1)
    await house.settle()
    assert house.sent == ["re: are you open?", "Until six."]


async def test_a_give_back_wakes_the_ai(chat: Api, house: House) -> None:
    async def put(owner: str) -> int:
        body, headers = {"owner": owner}, {"If-Match": "*"}
        return (await chat.ask("PUT", "/conversations/1/owner", body, headers=headers)).status

    assert await put("me") == 200
    await house.settle()
    assert house.sent == ["re: are you open?"]
    assert await put("ai") == 200
    await house.settle()
    assert house.sent[-1] == "re: and on Sunday?"


async def test_jobs_are_listed_retried_cancelled_and_discarded(chat: Api, house: House) -> None:
    [turn] = await house.claim(10)
    await house.engine.bury(turn, turn.jobs, error="broken")
    job = turn.jobs[0].id
    [dead] = (await chat.get("/jobs?state=dead")).document["jobs"]
    assert (dead["id"], (await problems(chat))[0]["jobs"]) == (job, [job])
    assert (await chat.post(f"/jobs/{job}/cancel")).problem == (409, "state")
    for _ in range(2):
        assert (await chat.post(f"/jobs/{job}/retry", key="k1")).document == {"id": job, "act": "retry"}
    assert (await chat.post(f"/jobs/{job}/cancel")).status == 200
    assert (await chat.post(f"/jobs/{job}/discard")).status == 200
    assert (await chat.get(f"/jobs/{job}")).problem == (404, "not-found")
    assert await house.rows("SELECT act FROM audit WHERE way = 'api' ORDER BY id") == [
        ("retry_job",), ("cancel_job",), ("discard_job",),
    ]  # fmt: skip


async def test_a_change_that_did_not_come_about_is_not_on_record(
    chat: Api, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    [turn] = await house.claim(10)
    await house.engine.bury(turn, turn.jobs, error="broken")
    path, run = f"/jobs/{turn.jobs[0].id}/retry", Scripts.run

    async def lost(self: Scripts, script: str, *values: str | int | bytes) -> object:
        if script == "revive":
            raise DatabaseUnavailable("the connection was lost")
        return await run(self, script, *values)

    with monkeypatch.context() as patch:
        patch.setattr(Scripts, "run", lost)
        assert (await chat.post(path, key="k1")).problem == (503, "storage")
    assert await house.rows("SELECT count(*) FROM audit WHERE way = 'api'") == [(0,)]
    assert (await chat.post(path, key="k1")).status == 200
    await house.settle()
    assert house.sent[-1] == "re: and on Sunday?"


async def test_a_schedule_is_run_once(chat: Api, house: House) -> None:
    replies = await asyncio.gather(*(chat.post("/schedules/housekeeping/run", key="k1") for _ in range(4)))
    assert len({reply.document["job_id"] for reply in replies}) == 1
    assert len(await house.engine.list(JobFilter(kinds=("housekeeping",), states=(JobState.READY,)))) == 1


async def test_many_jobs_are_retried_in_the_background(chat: Api, house: House) -> None:
    await house.queue.enqueue_many([raw_job("remind", {"number": number}) for number in range(5)])
    await house.engine.cancel(JobFilter(kinds=("remind",)))
    bulk = (await chat.post("/bulk", RETRY)).document["id"]
    await house.turn()
    assert (await chat.get(f"/bulk/{bulk}")).document["changed"] == 5
    assert await house.engine.count(JobFilter(kinds=("remind",), states=(JobState.READY,))) == 5


async def test_a_person_is_erased_from_both(chat: Api, house: House) -> None:
    await die(house, f"OSError: cannot reach {ANA}")
    assert (await chat.post("/contacts/1/erase", by="ben")).status == 202
    await house.settle()
    assert (await chat.get("/contacts/1")).document["erasing"] is False
    assert [job for job in await house.engine.list(JobFilter()) if "15551230001" in f"{job}"] == []


async def test_the_whole_is_seen(chat: Api, house: House) -> None:
    status = (await chat.get("/status")).document
    assert (status["queue"]["kinds"]["process_ai_response"]["ready"], status["conversations"]["waiting"]) == (1, 1)
