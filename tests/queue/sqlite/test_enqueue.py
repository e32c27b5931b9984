"""Enqueues that share a transaction: nobody is lost between a caller that gave up and one that came late."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from convoq.db import Database
from convoq.errors import DatabaseUnavailable
from convoq.jobs import NewJob
from convoq.queue.rules import DEDUP_RETENTION_MS
from convoq.queue.sqlite.dedup import prune
from convoq.queue.sqlite.enqueue import EnqueueBatcher, JobInserter


async def test_a_caller_that_comes_while_a_cancelled_ones_commit_is_settled_is_stored(database: Database) -> None:
    batcher = EnqueueBatcher(database, JobInserter(database.clock))
    for number in range(300):
        gone = asyncio.ensure_future(batcher.enqueue([NewJob(kind="gone", payload="{}")], 5))
        await asyncio.sleep(0)
        gone.cancel()
        late = [
            asyncio.ensure_future(batcher.enqueue([NewJob(kind=f"late{number}", payload="{}")], 5)) for _ in range(3)
        ]
        async with asyncio.timeout(10):
            await asyncio.gather(*late)
    stored = await database.read(lambda c: c.execute("SELECT count(*) FROM jobs WHERE kind LIKE 'late%'").fetchone()[0])
    assert stored == 900


async def test_an_enqueue_after_the_database_was_closed_fails_each_time(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "convoq.db")
    batcher = EnqueueBatcher(database, JobInserter(database.clock))
    await database.close()
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable, match="is closed"):
            await batcher.enqueue([NewJob(kind="k", payload="{}")], 5)


async def test_the_id_of_a_deleted_job_is_never_used_again(database: Database) -> None:
    batcher = EnqueueBatcher(database, JobInserter(database.clock))
    ids = [int(result.job_id) for result in await batcher.enqueue([NewJob(kind="k", payload="{}")] * 3, 5)]
    await database.write(lambda connection: connection.execute("DELETE FROM jobs").rowcount)
    [after] = await batcher.enqueue([NewJob(kind="k", payload="{}")], 5)
    assert int(after.job_id) > max(ids)


async def test_keys_that_share_half_of_their_digest_are_two_keys(database: Database) -> None:
    batcher = EnqueueBatcher(database, JobInserter(database.clock))
    await batcher.enqueue([NewJob(kind="k", payload="{}", dedup_key="mine")], 5)
    await database.write(lambda connection: connection.execute("UPDATE dedup SET rest = rest + 1").rowcount)
    [other] = await batcher.enqueue([NewJob(kind="k", payload="{}", dedup_key="mine")], 5)
    assert not other.duplicate


async def test_keys_older_than_their_retention_are_forgotten_and_no_others(database: Database) -> None:
    batcher = EnqueueBatcher(database, JobInserter(database.clock))
    await batcher.enqueue([NewJob(kind="k", payload="{}", dedup_key=f"key {n}") for n in range(100)], 5)
    now = database.clock.now()
    old = "UPDATE dedup SET enqueued_at = ? WHERE job_id <= 40"
    await database.write(lambda connection: connection.execute(old, (now - DEDUP_RETENTION_MS - 1,)).rowcount)
    for _ in range(200):  # each looks at a stretch that chance picks
        await database.write(lambda connection: prune(connection, now, 5))
    left = await database.read(lambda c: c.execute("SELECT min(job_id), count(*) FROM dedup").fetchone())
    assert left == (41, 60)


async def test_text_that_is_not_unicode_fails_its_own_caller_alone(database: Database) -> None:
    batcher = EnqueueBatcher(database, JobInserter(database.clock))
    good = asyncio.ensure_future(batcher.enqueue([NewJob(kind="good", payload="{}")], 5))
    with pytest.raises(ValueError, match="surrogates"):
        await batcher.enqueue([NewJob(kind="bad", payload='{"x": "\ud800"}')], 5)
    assert [result.duplicate for result in await good] == [False]


@pytest.mark.parametrize(
    "wrong", [{"delay": float("inf")}, {"delay": float("nan")}, {"delay": -1.0}, {"max_attempts": 0}]
)
def test_a_job_that_no_queue_could_keep_is_refused_where_it_is_made(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"delay|max_attempts"):
        NewJob(kind="k", payload="{}", **wrong)  # type: ignore[arg-type] # that is the point
