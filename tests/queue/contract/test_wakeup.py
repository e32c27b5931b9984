"""A waiting worker is woken when a lane becomes due, and knows when the next one will."""

from __future__ import annotations

import asyncio

import pytest

from convoq.clock import WallClock
from convoq.jobs import PEOPLE, UPKEEP
from convoq.queue.base import Claim
from tests.clock import ManualClock
from tests.queue.conftest import Engine, OpenEngine
from tests.queue.contract.steps import (
    EVERYTHING,
    LONG,
    PROMPTLY,
    job,
    numbers,
    put,
    take,
    take_one,
    takes_to_the_end,
)


async def test_a_waiting_worker_is_woken_by_another_backends_enqueue(open_engine: OpenEngine) -> None:
    worker, producer = (await open_engine()).engine, (await open_engine()).engine
    await worker.register("w")
    waiting = asyncio.create_task(worker.wait(LONG))
    await asyncio.sleep(0)
    await put(producer, job())
    async with asyncio.timeout(PROMPTLY):
        await waiting
    assert len(await take(worker)) == 1


async def test_a_waiting_worker_is_woken_by_its_own_processes_enqueue(engine: Engine) -> None:
    await engine.register("w")
    waiting = asyncio.create_task(engine.wait(LONG))
    await asyncio.sleep(0)
    await put(engine, job())
    async with asyncio.timeout(PROMPTLY):
        await waiting


async def test_work_that_came_between_claim_and_wait_ends_the_wait(open_engine: OpenEngine) -> None:
    worker, producer = (await open_engine()).engine, (await open_engine()).engine
    await worker.register("w")
    assert await take(worker) == []
    await put(producer, job())
    async with asyncio.timeout(PROMPTLY):
        await worker.wait(LONG)


async def test_a_worker_is_woken_by_the_event_and_not_by_a_slow_poll(open_engine: OpenEngine) -> None:
    worker, producer = (await open_engine()).engine, (await open_engine()).engine
    await worker.register("w")
    async with asyncio.timeout(PROMPTLY):
        for n in range(15):
            waiting = asyncio.create_task(worker.wait(LONG))
            await asyncio.sleep(0)
            await put(producer, job(n))
            await waiting
            await worker.ack(await take_one(worker))


async def test_every_waiting_worker_is_woken(open_engine: OpenEngine) -> None:
    workers = [(await open_engine()).engine for _ in range(3)]
    for n, worker in enumerate(workers):
        await worker.register(f"w{n}")
    waiting = [asyncio.create_task(worker.wait(LONG)) for worker in workers]
    await asyncio.sleep(0)
    await put((await open_engine()).engine, job())
    async with asyncio.timeout(PROMPTLY):
        await asyncio.gather(*waiting)


async def test_a_wait_ends_when_a_delayed_job_is_due(open_engine: OpenEngine) -> None:
    engine = (await open_engine(WallClock())).engine
    await engine.register("w")
    await put(engine, job(delay=0.1))
    async with asyncio.timeout(PROMPTLY):
        while not await take(engine):
            await engine.wait(LONG)


async def test_a_wait_ends_when_somebodys_lease_runs_out(open_engine: OpenEngine) -> None:
    holder, heir = (await open_engine(WallClock())).engine, (await open_engine(WallClock())).engine
    await heir.register("heir")
    await put(holder, job())
    await take_one(holder, lease=0.1)
    async with asyncio.timeout(PROMPTLY):
        while not await take(heir):
            await heir.wait(LONG)


async def test_a_wait_ends_when_a_lane_goes_on(open_engine: OpenEngine) -> None:
    holder, idle = (await open_engine()).engine, (await open_engine()).engine
    await idle.register("idle")
    await put(holder, job(1, key="a"))
    claim = await take_one(holder, lease=3600.0)
    await put(holder, job(2, key="a"))

    async def take_the_next() -> list[Claim]:
        while not (claims := await take(idle)):
            await idle.wait(LONG)
        return claims

    waiting = asyncio.create_task(take_the_next())
    await asyncio.sleep(0)
    await holder.ack(claim)
    async with asyncio.timeout(PROMPTLY):
        assert [numbers(each) for each in await waiting] == [[2]]


async def test_a_wait_for_nothing_ends_with_its_timeout_and_not_before(engine: Engine) -> None:
    await engine.register("w")
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with asyncio.timeout(PROMPTLY):
        for _ in range(3):
            await engine.wait(0.15)
    # One of them may end early on a stale hint; a worker whose waits all do would spin.
    assert loop.time() - started >= 0.29


async def test_a_cancelled_wait_leaves_the_next_one_whole(engine: Engine) -> None:
    await engine.register("w")
    waiting = asyncio.create_task(engine.wait(LONG))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    again = asyncio.create_task(engine.wait(LONG))
    await asyncio.sleep(0)
    await put(engine, job())
    async with asyncio.timeout(PROMPTLY):
        await again


async def test_an_empty_queue_is_due_never(engine: Engine) -> None:
    assert await engine.next_due() is None
    await put(engine, job())
    await takes_to_the_end(engine)
    assert await engine.next_due() is None


async def test_waiting_work_is_due_now(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, delay=60.0), job(2, priority=UPKEEP))
    clock.advance(5.0)
    assert await engine.next_due() == 0.0


async def test_the_next_due_lane_is_the_soonest_of_all_priorities(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, delay=60.0, priority=PEOPLE), job(2, delay=20.0, priority=UPKEEP), job(3, delay=40.0))
    clock.advance(5.0)
    assert await engine.next_due() == pytest.approx(15.0)


async def test_a_live_lease_counts_until_it_runs_out(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job())
    await take_one(engine, lease=30.0)
    clock.advance(10.0)
    assert await engine.next_due() == pytest.approx(20.0)
    clock.advance(25.0)
    assert await engine.next_due() == 0.0


async def test_a_backoff_counts_until_it_ends(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    await engine.nack(await take_one(engine), delay=12.0)
    assert await engine.next_due() == pytest.approx(12.0)


async def test_cancelled_work_is_due_never(engine: Engine) -> None:
    await put(engine, job(delay=60.0))
    await engine.cancel(EVERYTHING)
    assert await engine.next_due() is None
