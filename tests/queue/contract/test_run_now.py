"""An operator lets jobs run at once that wait for their time."""

from __future__ import annotations

import asyncio

from convoq.queue.base import JobFilter
from tests.clock import ManualClock
from tests.queue.conftest import Engine, OpenEngine
from tests.queue.contract.steps import (
    EVERYTHING,
    LONG,
    PROMPTLY,
    attempts,
    everything,
    job,
    numbers,
    put,
    record,
    take,
    take_one,
    takes_to_the_end,
)


async def test_a_delayed_job_is_due_at_once(engine: Engine) -> None:
    chosen, _ = await put(engine, job(1, delay=3600.0), job(2, delay=3600.0))
    assert await engine.run_now(JobFilter(ids=(chosen,))) == 1
    assert numbers(await take_one(engine)) == [1]


async def test_a_lane_that_was_put_back_is_due_at_once_and_keeps_its_attempts(engine: Engine) -> None:
    [job_id] = await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    await engine.nack(claim, delay=3600.0, charged=claim.jobs, error="busy", reason="the model is down")
    assert await engine.run_now(EVERYTHING) == 1
    assert (await record(engine, job_id)).reason is None
    assert attempts(await take_one(engine)) == [2]


async def test_the_jobs_ahead_in_the_lane_run_first(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    await engine.nack(await take_one(engine), delay=3600.0)
    [behind] = await put(engine, job(2, key="a", kind="send"))
    assert await engine.run_now(JobFilter(ids=(behind,))) == 1
    assert numbers(await take_one(engine)) == [1]


async def test_what_is_due_or_is_over_is_left_alone(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    await engine.ack(await take_one(engine))
    await put(engine, job(2, key="a"), job(3))
    before = await everything(engine)
    assert await engine.run_now(EVERYTHING) == 0
    assert await everything(engine) == before


async def test_what_runs_goes_on_and_is_due_as_soon_as_it_goes_back(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    before = await everything(engine)
    assert await engine.run_now(EVERYTHING) == 1
    assert (await everything(engine), await take(engine)) == (before, [])
    await engine.nack(claim, delay=3600.0, reason="it had looked before")
    assert numbers(await take_one(engine)) == [1]


async def test_what_stands_behind_a_running_job_does_not_wait_when_that_goes_back(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    [behind] = await put(engine, job(2, key="a", kind="send"))
    assert await engine.run_now(JobFilter(ids=(behind,))) == 1
    await engine.nack(claim, delay=3600.0)
    assert await takes_to_the_end(engine) == [1, 2]


async def test_a_lease_is_not_hurried_into_a_second_claim(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine, lease=30.0)
    clock.advance(29.0)
    await engine.run_now(EVERYTHING)
    assert await take(engine) == []
    assert engine.extend([claim], lease=30.0) == []


async def test_it_works_in_batches_of_its_limit(engine: Engine) -> None:
    await put(engine, *(job(number, delay=60.0) for number in range(5)))
    assert [await engine.run_now(EVERYTHING, limit=2) for _ in range(4)] == [2, 2, 1, 0]


async def test_it_wakes_a_waiting_worker(open_engine: OpenEngine) -> None:
    operator, worker = (await open_engine()).engine, (await open_engine()).engine
    await worker.register("w")
    await put(operator, job(delay=3600.0))
    waiting = asyncio.create_task(worker.wait(LONG))
    await asyncio.sleep(0)
    await operator.run_now(EVERYTHING)
    await asyncio.wait_for(waiting, PROMPTLY)
    assert len(await take(worker)) == 1
