"""What went wrong is put together by its cause, and one act does something to all jobs of one."""

from __future__ import annotations

from typing import Any

import pytest

from convoq.conversations.bulk_acts import BulkActs, BulkState
from convoq.conversations.repair import Repair
from convoq.conversations.retention import Retention
from convoq.jobs import raw_job
from convoq.queue import selecting
from convoq.queue.base import JobFilter, JobState
from convoq.queue.following import SharedFollowUps
from convoq.settings.retention import RetentionSettings
from tests.console.site import Api
from tests.handlers.house import ANA, BEN, House
from tests.stores import only_sqlite


async def die(house: House, error: str, *, sender: str = ANA, text: str = "hello") -> str:
    """A turn that ends in the dead letters; its job."""
    await house.hear(text, sender=sender)
    await house.take_in()
    [turn] = await house.claim(10)
    await house.engine.bury(turn, turn.jobs, error=error)
    return turn.jobs[0].id


async def problems(api: Api, *, by: str = "marta") -> list[dict[str, Any]]:
    reply = await api.get("/problems", by=by)
    assert reply.status == 200, reply.document
    found: list[dict[str, Any]] = reply.document["problems"]
    return found


@pytest.fixture
async def dead(api: Api, house: House) -> Api:
    """Two died of one thing, with another id each, and one of another."""
    await die(house, "Traceback\nModelError: no such key (request req_81)")
    await die(house, "Traceback\nModelError: no such key (request req_97)", sender=BEN)
    await die(house, f"OSError: cannot reach {BEN}", sender="whatsapp:+15551230003")
    return api


async def test_dead_letters_of_one_cause_are_one_problem(dead: Api) -> None:
    first, second = await problems(dead)
    assert (first["sort"], first["kind"], first["count"], first["people"]) == ("dead", "process_ai_response", 2, 2)
    assert first["said"].startswith("ModelError: no such key")
    assert (first["retry_helps"], first["capped"], len(first["jobs"])) == (2, False, 2)
    assert first["remedy"] == f"Mend what it says. Then: convoq jobs retry --cause {first['cause']}"
    assert (second["count"], second["cause"] != first["cause"]) == (1, True)
    of_cause = (await dead.get(f"/jobs?cause={first['cause']}")).document["jobs"]
    assert [job["id"] for job in of_cause] == first["jobs"]
    assert "15551230002" not in str(await problems(dead, by="screen"))


async def test_what_is_held_back_and_what_did_not_arrive_are_problems(api: Api, house: House) -> None:
    await house.hear("hello")
    await house.settle()
    [message] = house.twilio.messages
    await house.report(message.sid, "undelivered", code=30003)
    await house.settle()
    await house.hear("and?", sender=BEN)
    await house.take_in()
    [turn] = await house.claim(10)
    await house.engine.nack(turn, delay=60, reason="the model is busy")
    by_sort = {one["sort"]: one for one in await problems(api)}
    held, undelivered = by_sort["held"], by_sort["undelivered"]
    assert (held["said"], held["returns_at"] is not None, held["count"]) == ("the model is busy", True, 1)
    assert (undelivered["code"], undelivered["people"], undelivered["conversations"]) == ("30003", 1, [1])
    assert "resend" in undelivered["remedy"]


@only_sqlite
async def test_a_retry_that_would_do_nothing_is_said_to(api: Api, house: House) -> None:
    await die(house, "broken")
    await house.hear_at_once("STOP")
    [problem] = await problems(api)
    assert (problem["retry_helps"], problem["remedy"].startswith("A retry would do nothing: ")) == (0, True)


async def test_all_of_a_cause_are_retried_and_no_other(dead: Api, house: House) -> None:
    cause = (await problems(dead))[0]["cause"]
    begun = await dead.post("/bulk", {"act": "retry", "filter": {"cause": cause}, "expect": 2})
    assert (begun.status, begun.document["state"], begun.document["total"]) == (202, "running", 2)
    await house.step()
    ended = (await dead.get(f"/bulk/{begun.document['id']}", by="screen")).document
    assert (ended["state"], ended["changed"], ended["left_alone"], ended["who"]) == ("done", 2, 0, "Marta")
    assert len(await house.engine.list(JobFilter(states=(JobState.DEAD,)))) == 1
    await house.settle()
    assert sorted(message.to for message in house.twilio.messages) == [ANA, BEN]
    assert await house.rows("SELECT act, subject, detail, way FROM audit WHERE subject LIKE 'bulk:%'") == [
        ("bulk_retry", "bulk:1", "2 jobs", "api")
    ]


@pytest.fixture
async def many(api: Api, house: House, monkeypatch: pytest.MonkeyPatch) -> Api:
    """Five cancelled jobs of the user's own; two are done at a time."""
    monkeypatch.setattr(selecting, "BATCH", 2)
    await house.queue.enqueue_many([raw_job("remind", {"number": number}) for number in range(5)])
    await house.engine.cancel(JobFilter(kinds=("remind",)))
    return api


RETRY = {"act": "retry", "filter": {"kinds": ["remind"], "states": ["cancelled"]}, "expect": 5}


async def ready(house: House) -> int:
    return await house.engine.count(JobFilter(kinds=("remind",), states=(JobState.READY,)))


@only_sqlite
async def test_it_is_stopped_after_the_batch_that_is_under_way(
    many: Api, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk = (await many.post("/bulk", RETRY)).document["id"]
    advance = BulkActs.advance

    async def stopped(self: BulkActs, *args: Any, **more: Any) -> BulkState:
        assert (await many.ask("DELETE", f"/bulk/{bulk}")).document["state"] == "stopping"
        return await advance(self, *args, **more)

    monkeypatch.setattr(BulkActs, "advance", stopped)
    await house.step()
    ended = (await many.get(f"/bulk/{bulk}")).document
    assert (ended["state"], ended["changed"], await ready(house)) == ("stopped", 2, 2)
    assert (await many.ask("DELETE", f"/bulk/{bulk}")).problem == (409, "unchanged")


@only_sqlite
async def test_killed_in_the_middle_it_goes_on_with_the_rest(
    many: Api, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk = (await many.post("/bulk", RETRY)).document["id"]
    with monkeypatch.context() as patch:
        patch.setattr(BulkActs, "end", None)  # what comes after the last batch
        patch.setattr("convoq.handlers.bulk.batches", lambda ids: selecting.batches(ids)[:1])
        await house.step()
    assert await ready(house) == 2
    follow_ups = SharedFollowUps(house.joined)
    await Repair(house.database).wake_work(follow_ups.enqueue)
    house.clock.advance(600)
    await house.turn()
    ended = (await many.get(f"/bulk/{bulk}")).document
    assert (ended["state"], ended["changed"], await ready(house)) == ("done", 5, 5)


@only_sqlite
async def test_what_came_later_or_has_grown_is_not_meant(many: Api, house: House) -> None:
    assert (await many.post("/bulk", {**RETRY, "expect": 4})).problem == (409, "grown")
    grown = await many.post("/bulk", {**RETRY, "expect": 4})
    assert grown.document["count"] == 5
    begun = await many.post("/bulk", RETRY, key="k1")
    assert (await many.post("/bulk", RETRY, key="k1")).document == begun.document
    late = await house.queue.enqueue_many([raw_job("remind", {"number": number}) for number in range(6, 12)])
    await house.engine.cancel(JobFilter(ids=tuple(one.job_id for one in late)))
    assert (await many.post("/bulk", RETRY, key="k1")).document == begun.document, (
        "it has begun, however many it were now"
    )
    await house.step()
    assert await ready(house) == 5
    assert (await many.post("/bulk", {**RETRY, "filter": {"kinds": ["none"]}})).problem == (409, "unchanged")


@only_sqlite
async def test_jobs_are_cancelled_discarded_and_run_now_in_bulk(many: Api, house: House) -> None:
    async def bulk(act: str, **given: object) -> int:
        body = {"act": act, "filter": {"kinds": ["remind"], **given}, "expect": 5}
        reply = await many.post("/bulk", body)
        await house.turn()
        return int((await many.get(f"/bulk/{reply.document['id']}")).document["changed"])

    assert await bulk("retry", states=["cancelled"]) == 5
    assert await bulk("cancel") == 5
    assert await bulk("discard", states=["cancelled"]) == 5
    assert await house.engine.count(JobFilter(kinds=("remind",))) == 0


@only_sqlite
async def test_acts_that_are_long_over_are_forgotten(many: Api, house: House) -> None:
    bulk = (await many.post("/bulk", RETRY)).document["id"]
    await house.step()
    retention = Retention(house.database, RetentionSettings())
    assert await retention.bulk_acts(10) == 0
    house.clock.advance(31 * 86_400)
    assert await retention.bulk_acts(10) == 1
    assert (await many.get(f"/bulk/{bulk}")).problem == (404, "not-found")


@only_sqlite
async def test_a_viewer_changes_nothing_and_a_filter_is_checked(many: Api) -> None:
    assert (await many.ask("POST", "/bulk", RETRY, by="screen", key="k")).problem == (403, "role")
    assert (await many.ask("DELETE", "/bulk/1", by="screen")).problem == (403, "role")
    for body in ({}, {**RETRY, "expect": 0}, {**RETRY, "act": "burn"}, {**RETRY, "filter": {"text": "x"}}):
        assert (await many.post("/bulk", body)).problem == (400, "invalid")
    assert (await many.get("/bulk/9")).problem == (404, "not-found")
