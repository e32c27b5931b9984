"""A lane is held until its lease runs out, and extend holds it longer."""

from __future__ import annotations

from convoq.queue.base import JobState
from tests.clock import ManualClock
from tests.queue.conftest import Engine
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


async def test_a_lane_is_due_again_when_its_lease_runs_out(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a"), job(2, key="a"))
    await take_one(engine, lease=30.0)
    clock.advance(29.999)
    assert await take(engine) == []
    clock.advance(0.001)
    again = await take_one(engine)
    assert (numbers(again), attempts(again)) == ([1, 2], [2, 2])


async def test_every_claim_has_a_receipt_of_its_own(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a"), job(2, key="b"))
    receipts = [claim.receipt for claim in await take(engine)]
    clock.advance(LEASE)
    receipts += [claim.receipt for claim in await take(engine)]
    assert len(set(receipts)) == 4


async def test_a_lane_whose_lease_ran_out_takes_the_newcomers_along(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a"))
    await take_one(engine)
    await put(engine, job(2, key="a"))
    clock.advance(LEASE)
    again = await take_one(engine)
    assert (numbers(again), attempts(again)) == ([1, 2], [2, 1])


async def test_extend_renews_the_lease_from_now(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job())
    claim = await take_one(engine, lease=30.0)
    clock.advance(20.0)
    assert engine.extend([claim], lease=30.0) == []
    clock.advance(29.999)
    assert await take(engine) == []
    clock.advance(0.001)
    assert len(await take(engine)) == 1


async def test_extend_names_exactly_the_lost_claims(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a"), job(2, key="b"))
    lost = await take(engine, 2, lease=10.0)
    clock.advance(10.0)
    await take(engine, 2)
    await put(engine, job(3, key="c"))
    [kept] = await take(engine)
    assert engine.extend([lost[0], kept, lost[1]], lease=LEASE) == lost


async def test_extend_of_no_claims_is_nothing(engine: Engine) -> None:
    assert engine.extend([], lease=LEASE) == []


async def test_extend_charges_nothing(engine: Engine) -> None:
    [job_id] = await put(engine, job())
    engine.extend([await take_one(engine)], lease=LEASE)
    assert (await record(engine, job_id)).attempt == 1


# The receipt is what counts, not the hour: until somebody else claims the lane, its last holder may still finish.


async def test_a_late_extend_holds_a_lane_that_nobody_took(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job())
    claim = await take_one(engine)
    clock.advance(LEASE + 5.0)
    assert engine.extend([claim], lease=LEASE) == []
    assert await take(engine) == []


async def test_a_late_ack_counts_when_nobody_took_the_lane(engine: Engine, clock: ManualClock) -> None:
    [job_id] = await put(engine, job())
    claim = await take_one(engine)
    clock.advance(LEASE + 5.0)
    await engine.ack(claim)
    assert (await record(engine, job_id)).state is JobState.DONE
    assert await take(engine) == []
