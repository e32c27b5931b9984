"""Enqueues that share a transaction: nobody is lost between a caller that gave up and one that came late."""

from __future__ import annotations

import asyncio

import pytest

from convoq.db import Database
from convoq.jobs import NewJob
from convoq.queue.sqlite_intake import Intake


async def test_a_caller_that_comes_while_a_cancelled_ones_commit_is_settled_is_stored(database: Database) -> None:
    intake = Intake(database)
    for number in range(300):
        gone = asyncio.create_task(intake.enqueue([NewJob(kind="gone", payload="{}")], 5))
        await asyncio.sleep(0)
        gone.cancel()
        late = [asyncio.create_task(intake.enqueue([NewJob(kind=f"late{number}", payload="{}")], 5)) for _ in range(3)]
        async with asyncio.timeout(10):
            await asyncio.gather(*late)
    stored = await database.read(lambda c: c.execute("SELECT count(*) FROM jobs WHERE kind LIKE 'late%'").fetchone()[0])
    assert stored == 900


async def test_text_that_is_not_unicode_fails_its_own_caller_alone(database: Database) -> None:
    intake = Intake(database)
    good = asyncio.create_task(intake.enqueue([NewJob(kind="good", payload="{}")], 5))
    with pytest.raises(ValueError, match="surrogates"):
        await intake.enqueue([NewJob(kind="bad", payload='{"x": "\ud800"}')], 5)
    assert [result.duplicate for result in await good] == [False]


@pytest.mark.parametrize(
    "wrong", [{"delay": float("inf")}, {"delay": float("nan")}, {"delay": -1.0}, {"max_attempts": 0}]
)
def test_a_job_that_no_queue_could_keep_is_refused_where_it_is_made(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"delay|max_attempts"):
        NewJob(kind="k", payload="{}", **wrong)  # type: ignore[arg-type] # that is the point
