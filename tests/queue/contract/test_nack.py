"""A nack puts the unfinished jobs back at the front of their lane, after its delay."""

from __future__ import annotations

from convoq.queue.base import Backend, State
from tests.clock import ManualClock
from tests.queue.contract.steps import (
    everything,
    job,
    numbers,
    put,
    record,
    take,
    take_one,
    takes_to_the_end,
)


async def test_nack_holds_the_whole_lane_for_its_delay(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, key="a"))
    await backend.nack(await take_one(backend), delay=10.0)
    await put(backend, job(2, key="a"))
    clock.advance(9.999)
    assert await take(backend) == []
    clock.advance(0.001)
    assert numbers(await take_one(backend)) == [1, 2]


async def test_nack_holds_no_other_lane(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="b"))
    for claim in await take(backend):
        await backend.nack(claim, delay=60.0 if claim.lane == "a" else 0.0)
    assert (await take_one(backend)).lane == "b"


async def test_nack_without_delay_makes_the_lane_due_at_once(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    await backend.nack(await take_one(backend, lease=3600.0), delay=0.0)
    assert numbers(await take_one(backend)) == [1]


async def test_nack_puts_the_jobs_back_at_the_front(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    claim = await take_one(backend)
    await put(backend, job(3, key="a", kind="send"))
    await backend.nack(claim, delay=0.0, charged=claim.jobs)
    assert await takes_to_the_end(backend) == [1, 2, 3]


async def test_nack_gives_back_only_what_is_unfinished(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"), job(3, key="a"))
    claim = await take_one(backend)
    await backend.ack(claim, claim.jobs[:1])
    await backend.bury(claim, claim.jobs[1:2], error="no")
    await backend.nack(claim, delay=0.0, charged=claim.jobs)
    assert numbers(await take_one(backend)) == [3]
    assert [each.state for each in await everything(backend)] == [State.READY, State.DEAD, State.DONE]


async def test_nack_refunds_no_finished_job(backend: Backend) -> None:
    [done, _] = await put(backend, job(1, key="a"), job(2, key="a"))
    claim = await take_one(backend)
    await backend.ack(claim, claim.jobs[:1])
    await backend.nack(claim, delay=0.0)
    assert (await record(backend, done)).attempt == 1


async def test_nack_leaves_the_attempts_of_jobs_behind_the_claim(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    [behind] = await put(backend, job(2, key="a"))
    await backend.nack(claim, delay=0.0)
    assert (await record(backend, behind)).attempt == 0


async def test_nack_records_its_error(backend: Backend) -> None:
    [job_id] = await put(backend, job())
    claim = await take_one(backend)
    await backend.nack(claim, delay=5.0, charged=claim.jobs, error="boom: ünï 100 %")
    got = await record(backend, job_id)
    assert (got.error, got.state, got.running) == ("boom: ünï 100 %", State.READY, False)
