"""What a claim hands out: what is due, the most urgent lanes first, the longest due among equals."""

from __future__ import annotations

from convoq.jobs import NORMAL, PEOPLE, UPKEEP
from convoq.queue.base import Backend
from tests.clock import ManualClock
from tests.queue.contract.steps import (
    everything,
    job,
    numbers,
    put,
    take,
    take_one,
    takes_to_the_end,
)


async def test_an_empty_queue_gives_no_claim(backend: Backend) -> None:
    assert await take(backend) == []


async def test_a_claim_of_nothing_gives_nothing(backend: Backend) -> None:
    await put(backend, job())
    assert await take(backend, limit=0) == []
    assert (await everything(backend))[0].attempt == 0


async def test_a_delayed_job_is_due_at_its_time_and_not_before(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(delay=10.0))
    clock.advance(9.999)
    assert await take(backend) == []
    clock.advance(0.001)
    assert numbers(await take_one(backend)) == [0]


async def test_a_delayed_job_holds_back_no_other(backend: Backend) -> None:
    await put(backend, job(1, delay=60.0), job(2))
    assert await takes_to_the_end(backend) == [2]


async def test_urgent_lanes_come_first(backend: Backend, clock: ManualClock) -> None:
    for n, priority in enumerate((UPKEEP, NORMAL, PEOPLE)):
        await put(backend, job(n, priority=priority))
        clock.advance(1.0)
    assert [numbers(claim) for claim in await take(backend)] == [[2], [1], [0]]


async def test_a_limited_claim_leaves_the_less_urgent(backend: Backend) -> None:
    await put(backend, job(1, priority=UPKEEP), job(2, priority=PEOPLE), job(3, priority=NORMAL))
    assert [numbers(claim) for claim in await take(backend, 2)] == [[2], [3]]


async def test_a_lane_is_as_urgent_as_its_most_urgent_job(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, priority=NORMAL))
    clock.advance(1.0)
    await put(backend, job(2, key="a", priority=UPKEEP), job(3, key="a", priority=PEOPLE))
    assert [numbers(claim) for claim in await take(backend)] == [[2, 3], [1]]


async def test_of_equally_urgent_lanes_the_longest_due_comes_first(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, delay=10.0))
    for n in (2, 3):
        clock.advance(4.0)
        await put(backend, job(n))
    clock.advance(4.0)
    await put(backend, job(4))
    assert [numbers(claim) for claim in await take(backend)] == [[2], [3], [1], [4]]


async def test_a_lane_that_goes_on_stands_behind_those_that_waited(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, key="busy"))
    claim = await take_one(backend)
    await put(backend, job(2, key="busy"))
    clock.advance(1.0)
    await put(backend, job(3, key="patient"))
    clock.advance(1.0)
    await backend.ack(claim)
    assert [numbers(each) for each in await take(backend)] == [[3], [2]]


async def test_the_limit_counts_lanes(backend: Backend) -> None:
    await put(backend, *[job(n, key=key) for key in "abc" for n in (1, 2)])
    assert [numbers(claim) for claim in await take(backend, 2)] == [[1, 2], [1, 2]]
    assert [claim.lane for claim in await take(backend, 2)] == ["c"]
