"""The file's rows fit together whatever the queue has done with them."""

from __future__ import annotations

from pathlib import Path

from convoq.queue.audit import inconsistencies, reachable_lanes
from convoq.queue.base import JobState
from tests.clock import ManualClock
from tests.queue.conftest import open_sqlite
from tests.queue.contract.steps import everything, job, put, take


async def test_the_file_is_consistent_with_jobs_that_are_put_aside(tmp_path: Path, clock: ManualClock) -> None:
    store = await open_sqlite(tmp_path, clock)
    await put(store.engine, job(1, key="a"), job(2, key="b"))
    for claim in await take(store.engine):
        await store.engine.nack(claim, delay=60.0, aside=True)
    assert list(await store.database.read(lambda tx: list(inconsistencies(tx)))) == []
    assert await store.database.read(reachable_lanes) == {"a", "b"}
    assert {each.state for each in await everything(store.engine)} == {JobState.READY}
    await store.close()
