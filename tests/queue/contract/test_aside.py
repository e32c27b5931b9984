"""What is put aside waits beside its lane: it holds up nothing behind it, and stands in its old place afterwards."""

from __future__ import annotations

import pytest

from convoq.errors import LeaseLost
from convoq.queue.base import JobFilter, Standing
from tests.clock import ManualClock
from tests.queue.conftest import Engine
from tests.queue.contract.steps import attempts, everything, job, numbers, put, record, take, take_one


async def aside(engine: Engine, *, delay: float = 60.0) -> str:
    """Puts the front of the only due lane aside; the first job's id."""
    claim = await take_one(engine)
    await engine.nack(claim, delay=delay, reason="no handler", aside=True)
    return claim.jobs[0].id


async def run_all(engine: Engine) -> list[int]:
    """Runs what is due, one claim at a time; its numbers in order."""
    seen: list[int] = []
    while claims := await take(engine):
        [claim] = claims
        seen += numbers(claim)
        await engine.ack(claim)
    return seen


async def test_what_stands_behind_it_is_due_at_once(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="a", kind="send"), job(3, key="a", kind="send"))
    await aside(engine)
    assert numbers(await take_one(engine)) == [2, 3]


async def test_it_is_due_after_its_delay_and_has_cost_no_attempt(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a"))
    await aside(engine)
    clock.advance(59.999)
    assert await take(engine) == []
    assert await engine.next_due() == pytest.approx(0.001)
    clock.advance(0.001)
    claim = await take_one(engine)
    assert (claim.lane, numbers(claim), attempts(claim)) == ("a", [1], [1])


async def test_it_comes_before_what_was_enqueued_after_it(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a"), job(2, key="a", kind="send"))
    await aside(engine)
    clock.advance(60.0)
    assert await run_all(engine) == [1, 2]


async def test_it_never_runs_beside_its_lane(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a"), job(2, key="a", kind="send"))
    await aside(engine)
    claim = await take_one(engine, lease=3600.0)
    clock.advance(60.0)
    assert await take(engine) == []
    await engine.ack(claim)
    assert numbers(await take_one(engine)) == [1]


async def test_several_that_are_put_aside_come_back_in_their_order(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a"), job(2, key="a", kind="send"), job(3, key="a"))
    for _ in range(3):
        await aside(engine)
        clock.advance(10.0)
    clock.advance(60.0)
    assert await run_all(engine) == [1, 2, 3]


async def test_a_job_with_a_lane_of_its_own_just_waits(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1))
    await aside(engine)
    assert await take(engine) == []
    clock.advance(60.0)
    assert numbers(await take_one(engine)) == [1]


async def test_operators_see_it_wait_in_its_lane(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a"))
    job_id = await aside(engine)
    seen = await record(engine, job_id)
    assert (seen.ordering_key, seen.standing, seen.reason) == ("a", Standing.SCHEDULED, "no handler")
    assert seen.due_at == clock.now() + 60_000
    assert await engine.list(JobFilter(ordering_key="a")) == [seen]
    assert await engine.busy(["a", "b"]) == {"a"}
    stats = (await engine.stats()).kinds["reply"]
    assert (stats.ready, stats.scheduled, stats.running) == (0, 1, 0)


async def test_it_can_be_cancelled_and_retried(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    job_id = await aside(engine)
    assert await engine.cancel(JobFilter(ids=(job_id,))) == 1
    assert (await engine.next_due(), await engine.busy(["a"])) == (None, set())
    assert await engine.retry_dead(JobFilter(ids=(job_id,))) == 1
    assert numbers(await take_one(engine)) == [1]


async def test_a_cancelled_one_leaves_the_others_aside(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a"), job(2, key="a"))
    first = await aside(engine)
    await engine.cancel(JobFilter(ids=(first,)))
    assert await take(engine) == []
    clock.advance(60.0)
    assert numbers(await take_one(engine)) == [2]


async def test_it_can_be_run_now(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="a", kind="send"))
    job_id = await aside(engine)
    await engine.nack(await take_one(engine), delay=3600.0)
    assert await engine.run_now(JobFilter(ids=(job_id,))) == 1
    assert numbers(await take_one(engine)) == [1]


async def test_the_claim_is_over(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="a", kind="send"))
    claim = await take_one(engine)
    await engine.nack(claim, delay=60.0, aside=True)
    with pytest.raises(LeaseLost):
        await engine.ack(claim)


async def test_what_failed_may_be_put_aside_with_its_attempt(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    await engine.nack(claim, delay=60.0, charged=claim.jobs, error="no", aside=True)
    assert [(each.attempt, each.error) for each in await everything(engine)] == [(1, "no")]
