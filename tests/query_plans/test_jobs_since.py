"""Jobs since a moment are found without a walk past all that are older."""

from __future__ import annotations

import pytest

from convoq.db import Database
from convoq.db.transaction import Transaction
from convoq.queue.base import JobFilter, JobState
from convoq.queue.sqlite import listing
from tests.query_plans.test_history import steps_of

ROWS = 3000
MINUTE = 60_000


def fill(tx: Transaction) -> None:
    """A job a minute; every third is pruned, every tenth was dated four minutes before it was committed."""
    tx.execute(
        f"""WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
            INSERT INTO jobs (id, lane, lane_id, kind, payload, state, priority, max_attempts, enqueued_at, finished_at)
            SELECT i, 'l', 0, 'x', '', 'done', 1, 1, (i - iif(i % 10, 0, 4)) * {MINUTE}, 0 FROM n WHERE i % 3"""
    )


@pytest.mark.parametrize("since", [0, 1, 5, 1499, 1500, 1503, 2999, 3000, 4000])
@pytest.mark.parametrize("states", [None, (JobState.DONE,), (JobState.DEAD,)])
async def test_all_are_found(database: Database, since: int, states: tuple[JobState, ...] | None) -> None:
    await database.write(fill)
    where = JobFilter(since=since * MINUTE, states=states)
    found = await database.read(listing.find, where, 0, ROWS)
    wanted = await database.read(
        lambda tx: tx.execute(
            "SELECT id FROM jobs WHERE enqueued_at >= ? ORDER BY id DESC", (since * MINUTE,)
        ).fetchall()
    )
    if states == (JobState.DEAD,):
        wanted = []
    assert [(int(record.id),) for record in found] == wanted
    assert await database.read(listing.count, where, 0) == len(wanted)


async def test_the_newest_cost_what_they_are(database: Database) -> None:
    await database.write(fill)
    where = JobFilter(since=(ROWS - 3) * MINUTE)
    assert await database.read(lambda tx: steps_of(tx, lambda tx: listing.find(tx, where, 0, 50))) < ROWS
    assert await database.read(lambda tx: steps_of(tx, lambda tx: listing.count(tx, where, 0))) < ROWS


async def test_none_are_found_where_there_are_none(database: Database) -> None:
    assert await database.read(listing.find, JobFilter(since=1), 0, 50) == []
