"""What has been kept as long as the settings say is taken out by housekeeping, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from convoq.queue.base import JobFilter
from convoq.settings.retention import RetentionSettings
from tests.clock import ManualClock
from tests.handlers.house import ANA, House, open_house

DAY = 86_400.0
EVERY_JOB = JobFilter()


@pytest.fixture
async def house(database: Database | PostgresDatabase, clock: ManualClock) -> AsyncIterator[House]:
    kept = RetentionSettings(texts_days=30, notes_days=60, audit_days=90)
    async with open_house(database, clock, retention=kept) as house:
        yield house


async def bodies(house: House) -> list[str]:
    return [body for (body,) in await house.rows("SELECT body FROM messages ORDER BY id")]


async def test_texts_are_taken_out_when_their_time_is_over(house: House) -> None:
    await house.hear("an old question?")
    await house.settle()
    house.clock.advance(29 * DAY)
    await house.hear("a new question?")
    await house.settle()
    await house.upkeep("housekeeping")
    assert await bodies(house) == ["an old question?", "re: an old question?", "a new question?", "re: a new question?"]
    house.clock.advance(2 * DAY)
    await house.upkeep("housekeeping")
    assert await bodies(house) == ["", "", "a new question?", "re: a new question?"]
    assert await house.rows("SELECT text FROM drafts") == [("re: a new question?",)]
    assert await house.rows("SELECT body FROM outbox") == [("re: a new question?",)]
    assert await house.rows("SELECT address FROM contacts") == [(ANA,)]
    assert await house.flaws() == []


async def test_what_was_taken_out_is_not_shown_to_a_model(house: House) -> None:
    await house.hear("an old question?")
    await house.settle()
    house.clock.advance(31 * DAY)
    await house.upkeep("housekeeping")
    await house.hear("a new question?")
    await house.settle()
    assert [line.text for line in house.responder.asked[-1].lines] == ["a new question?"]


async def test_what_still_waits_is_kept_however_old(house: House) -> None:
    await house.hear("never answered?")
    await house.take_in()
    house.clock.advance(31 * DAY)
    await house.engine.erase([job.id for job in await house.engine.list(EVERY_JOB)])
    await house.upkeep("housekeeping")
    assert await bodies(house) == ["never answered?"]


async def test_notes_and_acts_have_times_of_their_own(house: House) -> None:
    await house.hear("a question?")
    await house.settle()
    await house.unwoken_acts().note(1, "likes tea")
    for days, left in ((59, (1, 1)), (2, (0, 1)), (30, (0, 0))):
        house.clock.advance(days * DAY)
        await house.upkeep("housekeeping")
        counts = "SELECT (SELECT count(*) FROM operator_notes), (SELECT count(*) FROM audit)"
        assert await house.rows(counts) == [left]


async def test_many_texts_go_in_small_steps(house: House) -> None:
    for number in range(120):
        await house.hear(f"question {number}?")
    await house.settle()
    house.clock.advance(31 * DAY)
    await house.upkeep("housekeeping")
    assert set(await bodies(house)) == {""}


async def test_an_erasure_that_was_cut_off_is_gone_on_with(house: House) -> None:
    await house.hear("a question?")
    await house.settle()
    await house.unwoken_acts().erase("twilio", [ANA], house.clock.now())
    await house.upkeep("housekeeping")
    assert set(await bodies(house)) == {""}
