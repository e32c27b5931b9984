"""A lane is held until its lease runs out, and extend holds it longer."""

from __future__ import annotations

from convoq.queue.base import Backend, State
from tests.clock import ManualClock
from tests.queue.contract.steps import (
    LEASE,
    attempts,
    job,
    numbers,
    put,
    record,
    take,
    take_one,
)


async def test_a_lane_is_due_again_when_its_lease_runs_out(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    await take_one(backend, lease=30.0)
    clock.advance(29.999)
    assert await take(backend) == []
    clock.advance(0.001)
    again = await take_one(backend)
    assert (numbers(again), attempts(again)) == ([1, 2], [2, 2])


async def test_every_claim_has_a_receipt_of_its_own(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, key="a"), job(2, key="b"))
    receipts = [claim.receipt for claim in await take(backend)]
    clock.advance(LEASE)
    receipts += [claim.receipt for claim in await take(backend)]
    assert len(set(receipts)) == 4


async def test_a_lane_whose_lease_ran_out_takes_the_newcomers_along(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, key="a"))
    await take_one(backend)
    await put(backend, job(2, key="a"))
    clock.advance(LEASE)
    again = await take_one(backend)
    assert (numbers(again), attempts(again)) == ([1, 2], [2, 1])


async def test_extend_renews_the_lease_from_now(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job())
    claim = await take_one(backend, lease=30.0)
    clock.advance(20.0)
    assert await backend.extend([claim], lease=30.0) == []
    clock.advance(29.999)
    assert await take(backend) == []
    clock.advance(0.001)
    assert len(await take(backend)) == 1


async def test_extend_names_exactly_the_lost_claims(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, key="a"), job(2, key="b"))
    lost = await take(backend, 2, lease=10.0)
    clock.advance(10.0)
    await take(backend, 2)
    await put(backend, job(3, key="c"))
    [kept] = await take(backend)
    assert await backend.extend([lost[0], kept, lost[1]], lease=LEASE) == lost


async def test_extend_of_no_claims_is_nothing(backend: Backend) -> None:
    assert await backend.extend([], lease=LEASE) == []


async def test_extend_charges_nothing(backend: Backend) -> None:
    [job_id] = await put(backend, job())
    await backend.extend([await take_one(backend)], lease=LEASE)
    assert (await record(backend, job_id)).attempt == 1


# The receipt is what counts, not the hour: until somebody else claims the lane, its last holder may still finish.


async def test_a_late_extend_holds_a_lane_that_nobody_took(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job())
    claim = await take_one(backend)
    clock.advance(LEASE + 5.0)
    assert await backend.extend([claim], lease=LEASE) == []
    assert await take(backend) == []


async def test_a_late_ack_counts_when_nobody_took_the_lane(backend: Backend, clock: ManualClock) -> None:
    [job_id] = await put(backend, job())
    claim = await take_one(backend)
    clock.advance(LEASE + 5.0)
    await backend.ack(claim)
    assert (await record(backend, job_id)).state is State.DONE
    assert await take(backend) == []
