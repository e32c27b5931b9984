"""A claim takes newer jobs of its lane and kind along and charges them."""

from __future__ import annotations

from convoq.queue.base import Backend, State
from tests.clock import ManualClock
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


async def test_absorb_takes_the_newer_jobs_and_charges_them(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await put(backend, job(2, key="a"), job(3, key="a"))
    more = await backend.absorb(claim)
    assert (more.lane, more.receipt) == (claim.lane, claim.receipt)
    assert (numbers(more), attempts(more)) == ([1, 2, 3], [1, 1, 1])
    assert [each.attempt for each in await everything(backend)] == [1, 1, 1]


async def test_absorb_stops_at_another_kind(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await put(backend, job(2, key="a"), job(3, key="a", kind="send"), job(4, key="a"))
    assert numbers(await backend.absorb(claim)) == [1, 2]
    assert [each.attempt for each in await everything(backend)] == [0, 0, 1, 1]


async def test_absorb_does_not_reach_past_another_kind(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a", kind="send"), job(3, key="a"))
    claim = await take_one(backend)
    assert await backend.absorb(claim) == claim


async def test_absorb_of_nothing_new_changes_nothing(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    before = await everything(backend)
    assert await backend.absorb(claim) == claim
    assert await backend.absorb(claim) == claim
    assert await everything(backend) == before


async def test_absorb_again_with_the_first_claim_charges_no_second_time(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await put(backend, job(2, key="a"))
    first = await backend.absorb(claim)
    assert await backend.absorb(claim) == first
    assert [each.attempt for each in await everything(backend)] == [1, 1]


async def test_absorb_takes_no_jobs_of_other_lanes(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await put(backend, job(2, key="b"), job(3))
    assert await backend.absorb(claim) == claim


async def test_absorb_goes_on_after_a_part_was_acked(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    claim = await take_one(backend)
    await backend.ack(claim, claim.jobs[:1])
    await put(backend, job(3, key="a"))
    more = await backend.absorb(claim)
    assert numbers(more)[-2:] == [2, 3]
    await backend.ack(more)
    assert {each.state for each in await everything(backend)} == {State.DONE}


async def test_absorb_keeps_the_lease_as_it_was(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    clock.advance(20.0)
    await put(backend, job(2, key="a"))
    await backend.absorb(claim)
    clock.advance(10.0)
    assert numbers(await take_one(backend)) == [1, 2]


async def test_absorbed_jobs_end_with_the_claim(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await put(backend, job(2, key="a"))
    more = await backend.absorb(claim)
    await backend.ack(more, more.jobs[:1])
    assert await take(backend) == []
    await backend.ack(more, more.jobs[1:])
    assert {each.state for each in await everything(backend)} == {State.DONE}


async def test_absorbed_jobs_get_their_attempt_back_with_a_snooze(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await put(backend, job(2, key="a"))
    await backend.nack(await backend.absorb(claim), delay=0.0)
    assert attempts(await take_one(backend)) == [1, 1]


async def test_a_job_claimed_alone_absorbs_no_neighbour(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    await fail(backend, 2)
    claim = await take_one(backend)
    await put(backend, job(2, key="a"))
    assert await backend.absorb(claim) == claim


async def test_a_job_that_must_run_alone_is_not_absorbed(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    for _ in range(2):
        claim = await take_one(backend)
        await backend.nack(claim, delay=0.0, charged=claim.jobs[1:])
    claim = await take_one(backend)
    assert numbers(claim) == [1]
    assert await backend.absorb(claim) == claim
