"""A person is erased over the API: at once in all that is done, and by a worker in the files."""

from __future__ import annotations

import pytest

from convoq.conversations.erasures import Erasures
from convoq.conversations.repair import Repair
from convoq.db import Database
from convoq.jobs import ErasePeople, raw_job
from convoq.monitoring.snapshot import take
from convoq.queue.base import JobFilter, JobState
from convoq.queue.following import SharedFollowUps
from tests.console.site import Api
from tests.handlers.house import ANA, ANA_SMS, BEN, House
from tests.stores import only_sqlite

DIGITS, TEXT = "15551230001", "the lilac wardrobe"


@pytest.fixture
async def chat(api: Api, house: House) -> Api:
    """Ana was answered and waits again, by SMS too; a job of the user's own names her."""
    await house.hear(TEXT)
    await house.settle()
    await house.hear_at_once("and by SMS", sender=ANA_SMS, to="+15550009999")
    await house.hear_at_once(f"{TEXT} again")
    await house.queue.enqueue(raw_job("remind", {"to": ANA_SMS, "about": TEXT}))
    return api


async def named(house: House) -> list[str]:
    """Jobs that name her or hold her words."""
    jobs = await house.engine.list(JobFilter(), limit=500)
    return [job.kind for job in jobs if DIGITS in f"{job}" or "lilac" in f"{job}"]


async def test_it_holds_at_once_and_a_worker_brings_it_to_its_end(chat: Api, house: House) -> None:
    reply = await chat.post("/contacts/1/erase", by="ben")
    assert (reply.status, reply.document) == (
        202, {"contacts": [1, 2], "conversations": 2, "messages": 4, "parts_under_way": 0},
    )  # fmt: skip
    shown = (await chat.get("/contacts/1")).document
    assert (shown["erased"], shown["erasing"], shown["contact"]["address"].startswith("erased:")) == (True, True, True)
    assert (await chat.post("/conversations/1/messages", {"text": "Hi."})).problem == (422, "erased")
    await house.settle()
    shown = (await chat.get("/contacts/1")).document
    assert (shown["erased"], shown["erasing"]) == (True, False)
    assert await named(house) == []
    assert await house.rows("SELECT count(*) FROM messages WHERE body <> ''") == [(0,)]
    assert await house.rows("SELECT who, act, subject, way FROM audit WHERE act LIKE 'erase%' ORDER BY id") == [
        ("Ben", act, f"contact:{contact}", "api") for act in ("erase", "erased") for contact in (1, 2)
    ]
    assert await house.flaws() == []


@only_sqlite
async def test_the_number_is_in_no_file_any_more(chat: Api, house: House) -> None:
    await house.hear("the green wardrobe", sender=BEN)
    await house.step()
    await chat.post("/contacts/1/erase", by="ben")
    await house.settle()
    assert isinstance(house.database, Database)
    content = b"".join(path.read_bytes() for path in house.database.path.parent.rglob("*") if path.is_file())
    assert [word for word in (DIGITS, "lilac") if word.encode() in content] == []
    assert b"green" in content


@only_sqlite
async def test_it_is_for_admins_and_done_once(chat: Api, house: House) -> None:
    assert (await chat.post("/contacts/1/erase")).problem == (403, "role")
    replies = [await chat.post("/contacts/1/erase", by="ben", key="k1") for _ in range(2)]
    assert (replies[0].status, replies[1].document) == (202, replies[0].document)
    assert (await chat.post("/contacts/1/erase", by="ben")).problem == (409, "unchanged")
    assert (await chat.post("/contacts/9/erase", by="ben")).problem == (404, "not-found")
    assert len(await house.engine.list(JobFilter(kinds=(ErasePeople.kind,)))) == 1


@only_sqlite
@pytest.mark.parametrize("step", ["wipe", "forget_addresses", "scrub", "finish"])
async def test_killed_at_any_step_it_goes_on(
    step: str, chat: Api, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await chat.post("/contacts/1/erase", by="ben")
    await house.step()  # what else is due

    async def killed(*_: object) -> None:
        raise OSError

    owner = house.database if step == "scrub" else Erasures if step in ("forget_addresses", "finish") else None
    with monkeypatch.context() as patch:
        if owner is None:
            patch.setattr("convoq.conversations.erasing.Erasing.wipe", killed)
        else:
            patch.setattr(owner, step, killed)
        await house.queue.enqueue(ErasePeople().job(ordering_key="again"))
        await house.step()
    await house.settle()
    assert (await named(house), await Erasures(house.database).pending()) == ([], [])
    assert (await chat.get("/contacts/1")).document["erasing"] is False


@only_sqlite
async def test_who_comes_back_meanwhile_is_a_new_person(chat: Api, house: House) -> None:
    await chat.post("/contacts/1/erase", by="ben")
    house.clock.advance(1)
    await house.hear("hello, I am new here")
    await house.settle()
    assert house.sent[-1] == "re: hello, I am new here"
    assert await house.rows("SELECT id FROM contacts WHERE address = ?", ANA) == [(3,)]


@only_sqlite
async def test_an_erasure_without_its_job_gets_one_and_a_late_one_is_said_to_be(chat: Api, house: House) -> None:
    await chat.post("/contacts/1/erase", by="ben")
    [job] = await house.engine.list(JobFilter(kinds=(ErasePeople.kind,), states=(JobState.READY,)))
    await house.engine.cancel(JobFilter(ids=(job.id,)))
    assert (await take(house.database, house.engine)).erasing == 0
    house.clock.advance(601)
    assert (await take(house.database, house.engine)).erasing == 2
    follow_ups = SharedFollowUps(house.joined)
    await Repair(house.database).wake_work(follow_ups.enqueue)
    await house.settle()
    assert (await take(house.database, house.engine)).erasing == 0
    assert await named(house) == []
