"""The numbers per kind: where its jobs stand and how long the oldest waits."""

from __future__ import annotations

import pytest

from convoq.queue.base import KindStats
from tests.clock import ManualClock
from tests.queue.conftest import Engine
from tests.queue.contract.steps import (
    EVERYTHING,
    LEASE,
    fail,
    job,
    numbers,
    put,
    record,
    take,
    take_one,
    takes_to_the_end,
)


async def of_kind(engine: Engine, kind: str = "reply") -> KindStats:
    return (await engine.stats()).kinds.get(kind, KindStats())


async def test_stats_of_an_empty_queue_are_empty(engine: Engine) -> None:
    assert await of_kind(engine) == KindStats()


async def test_stats_count_each_kind_by_where_its_jobs_stand(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a"), job(2, key="b"), job(3, key="c"), job(4, key="c"))
    for claim in await take(engine):
        if claim.lane == "a":
            await engine.bury(claim, claim.jobs, error="no")
        elif claim.lane == "b":
            await engine.nack(claim, delay=60.0)
    await put(engine, job(5), job(6, delay=60.0), job(7, kind="send"))
    assert await of_kind(engine) == KindStats(
        ready=1, scheduled=2, running=2, dead=1, unstarted=2, unstarted_since=clock.now()
    )
    assert await of_kind(engine, "send") == KindStats(ready=1, unstarted=1, unstarted_since=clock.now())


async def test_jobs_behind_a_live_claim_are_ready_and_not_running(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    await take_one(engine)
    await put(engine, job(2, key="a"))
    got = await of_kind(engine)
    assert (got.ready, got.scheduled, got.running) == (1, 0, 1)


async def test_a_kind_that_only_waits_behind_a_claim_of_another_is_counted(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a"), job(2, key="a", kind="send"))
    await take_one(engine)
    clock.advance(4.0)
    got = await of_kind(engine, "send")
    assert (got.ready, got.scheduled, got.running, got.dead) == (1, 0, 0, 0)


async def test_a_job_that_was_left_out_of_a_claim_is_not_running(engine: Engine) -> None:
    _, left_out = await put(engine, job(1, key="a"), job(2, key="a"))
    await fail(engine, 2)
    assert numbers(await take_one(engine)) == [1]
    assert (await record(engine, left_out)).running is False
    assert (await of_kind(engine)).running == 1


async def test_a_job_whose_lease_ran_out_is_ready_and_not_running(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job())
    await take_one(engine)
    clock.advance(LEASE)
    got = await of_kind(engine)
    assert (got.ready, got.running) == (1, 0)


async def test_a_delayed_job_is_ready_once_its_time_has_come(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(delay=10.0))
    enqueued_at = clock.now()
    assert await of_kind(engine) == KindStats(scheduled=1, unstarted=1, unstarted_since=enqueued_at)
    clock.advance(10.0)
    assert await of_kind(engine) == KindStats(ready=1, unstarted=1, unstarted_since=enqueued_at)


async def test_done_and_cancelled_jobs_are_in_no_number(engine: Engine) -> None:
    await put(engine, job(1))
    await takes_to_the_end(engine)
    await put(engine, job(2))
    await engine.cancel(EVERYTHING)
    assert await of_kind(engine) == KindStats()


async def test_the_oldest_wait_is_that_of_the_longest_due_job(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1))
    clock.advance(7.5)
    await put(engine, job(2))
    clock.advance(5.0)
    assert (await of_kind(engine)).oldest_wait == pytest.approx(12.5)


async def test_time_spent_delayed_is_no_wait(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(delay=100.0))
    clock.advance(99.0)
    assert (await of_kind(engine)).oldest_wait == 0.0
    clock.advance(51.0)
    assert (await of_kind(engine)).oldest_wait == pytest.approx(50.0)


async def test_a_running_job_waits_no_more(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job())
    clock.advance(5.0)
    await take_one(engine)
    assert (await of_kind(engine)).oldest_wait == 0.0
