"""A buried job is dead with its error, and its lane goes on."""

from __future__ import annotations

from convoq.queue.base import Backend, State
from tests.clock import ManualClock
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


async def test_a_buried_job_is_dead_with_its_error(backend: Backend, clock: ManualClock) -> None:
    [job_id] = await put(backend, job(key="a"))
    claim = await take_one(backend)
    clock.advance(1.0)
    await backend.bury(claim, claim.jobs, error="cannot")
    got = await record(backend, job_id)
    assert (got.state, got.error, got.finished_at, got.due_at) == (State.DEAD, "cannot", clock.now(), None)
    clock.advance(DAY)
    assert await take(backend) == []


async def test_the_lane_goes_on_after_a_burial(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await put(backend, job(2, key="a"))
    await backend.bury(claim, claim.jobs, error="cannot")
    assert numbers(await take_one(backend)) == [2]


async def test_burial_of_some_keeps_the_claim(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    claim = await take_one(backend)
    await backend.bury(claim, claim.jobs[:1], error="cannot")
    assert await take(backend) == []
    await backend.ack(claim, claim.jobs[1:])
    assert [each.state for each in await everything(backend)] == [State.DONE, State.DEAD]


async def test_burial_of_none_buries_nothing(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await backend.bury(claim, [], error="cannot")
    assert [each.state for each in await everything(backend)] == [State.READY]
    assert await backend.extend([claim], lease=LEASE) == []
