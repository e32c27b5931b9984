"""A lease is kept while its handler runs; once it is lost, the new holder is left alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import MutableMapping
from typing import Any

import pytest

from convoq.errors import DatabaseUnavailable
from convoq.queue.base import Claim, JobState
from convoq.queue.sqlite.backend import SqliteQueue
from tests.worker.harness import SOON, Gate, House


async def test_a_lease_is_kept_for_as_long_as_the_handler_runs(house: House) -> None:
    gate = Gate()
    [job_id] = await house.put(None)
    async with house.working(gate, lease=0.3), house.working(gate, lease=0.3, name="other"):
        await gate.holds()
        await asyncio.sleep(0.9)  # three leases: that no other worker claims it has no state to wait for
        gate.open.set()
        await house.until_done(job_id)
    assert gate.started == [job_id]


async def steal(house: House) -> Claim:
    """Another worker's claim on what is under a claim."""
    await house.database.write(lambda connection: connection.execute("UPDATE lanes SET due_at = 0"))
    [claim] = await house.engine.claim(1, lease=60, worker="thief")
    return claim


async def test_a_lost_lease_ends_the_handler_and_leaves_the_new_holder_alone(house: House) -> None:
    gate = Gate()
    [job_id] = await house.put(None)
    # A living thief: the dead one's claim would be recovered.
    thief = SqliteQueue(house.database)
    await thief.register("thief")
    async with house.working(gate, lease=0.1) as running:
        await gate.holds()
        stolen = await steal(house)
        async with asyncio.timeout(SOON):
            await gate.cancelled.wait()
        await running.stop()
        record = await house.record(job_id)
    assert (record.state, record.attempt, record.running, record.worker) == (JobState.READY, 2, True, "thief")
    await house.engine.ack(stolen)
    await thief.close()


async def test_a_late_result_is_dropped(house: House, events: list[MutableMapping[str, Any]]) -> None:
    gate = Gate()
    [job_id] = await house.put(None)
    thief = SqliteQueue(house.database)
    await thief.register("thief")
    async with house.working(gate) as running:
        await gate.holds()
        await steal(house)
        gate.open.set()
        await running.stop()
    assert (await house.record(job_id)).state is JobState.READY
    assert [event["event"] for event in events if event["log_level"] != "debug"][-1] == "job.lease_lost"
    await thief.close()


async def test_a_renewal_that_failed_is_repeated_soon(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    tried: list[float] = []
    again, loop = asyncio.Event(), asyncio.get_running_loop()
    async with house.working(gate, lease=3.0) as running:

        def extend(claims: Any, *, lease: float) -> list[Claim]:
            tried.append(time.monotonic())
            if len(tried) == 1:
                raise DatabaseUnavailable("locked")
            loop.call_soon_threadsafe(again.set)
            return []

        monkeypatch.setattr(running.engine, "extend", extend)
        await house.put(None)
        await gate.holds()
        async with asyncio.timeout(SOON):
            await again.wait()
        gate.open.set()
    assert tried[1] - tried[0] < 0.7  # a third of the lease is a second
