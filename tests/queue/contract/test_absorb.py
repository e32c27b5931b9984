"""A claim takes newer jobs of its lane and kind along and charges them."""

from __future__ import annotations

from convoq.queue.base import JobState
from tests.clock import ManualClock
from tests.queue.conftest import Engine
from tests.queue.contract.steps import (
    attempts,
    everything,
    fail,
    job,
    numbers,
    put,
    take,
    take_one,
)


async def test_absorb_takes_the_newer_jobs_and_charges_them(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    await put(engine, job(2, key="a"), job(3, key="a"))
    more = await engine.absorb(claim)
    assert (more.lane, more.receipt) == (claim.lane, claim.receipt)
    assert (numbers(more), attempts(more)) == ([1, 2, 3], [1, 1, 1])
    assert [each.attempt for each in await everything(engine)] == [1, 1, 1]


async def test_absorb_stops_at_another_kind(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    await put(engine, job(2, key="a"), job(3, key="a", kind="send"), job(4, key="a"))
    assert numbers(await engine.absorb(claim)) == [1, 2]
    assert [each.attempt for each in await everything(engine)] == [0, 0, 1, 1]


async def test_absorb_does_not_reach_past_another_kind(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="a", kind="send"), job(3, key="a"))
    claim = await take_one(engine)
    assert await engine.absorb(claim) == claim


async def test_absorb_of_nothing_new_changes_nothing(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    before = await everything(engine)
    assert await engine.absorb(claim) == claim
    assert await engine.absorb(claim) == claim
    assert await everything(engine) == before


async def test_absorb_again_with_the_first_claim_charges_no_second_time(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    await put(engine, job(2, key="a"))
    first = await engine.absorb(claim)
    assert await engine.absorb(claim) == first
    assert [each.attempt for each in await everything(engine)] == [1, 1]


async def test_absorb_takes_no_jobs_of_other_lanes(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    await put(engine, job(2, key="b"), job(3))
    assert await engine.absorb(claim) == claim


async def test_absorb_goes_on_after_a_part_was_acked(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="a"))
    claim = await take_one(engine)
    await engine.ack(claim, claim.jobs[:1])
    await put(engine, job(3, key="a"))
    more = await engine.absorb(claim)
    assert numbers(more)[-2:] == [2, 3]
    await engine.ack(more)
    assert {each.state for each in await everything(engine)} == {JobState.DONE}


async def test_absorb_keeps_the_lease_as_it_was(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    clock.advance(20.0)
    await put(engine, job(2, key="a"))
    await engine.absorb(claim)
    clock.advance(10.0)
    assert numbers(await take_one(engine)) == [1, 2]


async def test_absorbed_jobs_end_with_the_claim(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    await put(engine, job(2, key="a"))
    more = await engine.absorb(claim)
    await engine.ack(more, more.jobs[:1])
    assert await take(engine) == []
    await engine.ack(more, more.jobs[1:])
    assert {each.state for each in await everything(engine)} == {JobState.DONE}


async def test_absorbed_jobs_get_their_attempt_back_with_a_snooze(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    await put(engine, job(2, key="a"))
    await engine.nack(await engine.absorb(claim), delay=0.0)
    assert attempts(await take_one(engine)) == [1, 1]


async def test_a_job_claimed_alone_absorbs_no_neighbour(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    await fail(engine, 2)
    claim = await take_one(engine)
    await put(engine, job(2, key="a"))
    assert await engine.absorb(claim) == claim


async def test_a_job_that_must_run_alone_is_not_absorbed(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="a"))
    for _ in range(2):
        claim = await take_one(engine)
        await engine.nack(claim, delay=0.0, charged=claim.jobs[1:])
    claim = await take_one(engine)
    assert numbers(claim) == [1]
    assert await engine.absorb(claim) == claim
