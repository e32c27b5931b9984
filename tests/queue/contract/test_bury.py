"""A buried job is dead with its error, and its lane goes on."""

from __future__ import annotations

from convoq.queue.base import JobState
from tests.clock import ManualClock
from tests.queue.conftest import Engine
from tests.queue.contract.steps import (
    DAY,
    LEASE,
    everything,
    job,
    numbers,
    put,
    record,
    take,
    take_one,
)


async def test_a_buried_job_is_dead_with_its_error(engine: Engine, clock: ManualClock) -> None:
    [job_id] = await put(engine, job(key="a"))
    claim = await take_one(engine)
    clock.advance(1.0)
    await engine.bury(claim, claim.jobs, error="cannot")
    got = await record(engine, job_id)
    assert (got.state, got.error, got.finished_at, got.due_at) == (JobState.DEAD, "cannot", clock.now(), None)
    clock.advance(DAY)
    assert await take(engine) == []


async def test_the_lane_goes_on_after_a_burial(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    await put(engine, job(2, key="a"))
    await engine.bury(claim, claim.jobs, error="cannot")
    assert numbers(await take_one(engine)) == [2]


async def test_burial_of_some_keeps_the_claim(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="a"))
    claim = await take_one(engine)
    await engine.bury(claim, claim.jobs[:1], error="cannot")
    assert await take(engine) == []
    await engine.ack(claim)
    assert [each.state for each in await everything(engine)] == [JobState.DONE, JobState.DEAD]


async def test_burial_of_none_buries_nothing(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    await engine.bury(claim, [], error="cannot")
    assert [each.state for each in await everything(engine)] == [JobState.READY]
    assert engine.extend([claim], lease=LEASE) == []
