"""The loop: its end, its errors, its log."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from convoq.jobs import NewJob
from convoq.queue.base import Enqueued
from convoq.scheduler.scheduler import Scheduler
from tests.scheduler.machine import MINUTE, NOON, Machine, MemoryProgress, MemoryQueue, every


async def test_run_enqueues_until_it_is_told_to_stop() -> None:
    machine = Machine(now=NOON + MINUTE - 20)
    stopping, enqueued = asyncio.Event(), asyncio.Event()
    clock = RealClock(machine.queue_clock.now())

    class Watched(MemoryQueue):
        async def enqueue(self, job: NewJob) -> Enqueued:
            enqueued.set()
            return await super().enqueue(job)

    queue = Watched()
    running = asyncio.create_task(
        Scheduler(queue, [every(60)], MemoryProgress(), queue_clock=clock, wall_clock=clock).run(stopping)
    )
    await asyncio.wait_for(enqueued.wait(), 30)
    stopping.set()
    await asyncio.wait_for(running, 30)
    assert queue.slots() == [NOON + MINUTE]


class RealClock:
    """Starts at a given moment and runs with the event loop."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.began = asyncio.get_running_loop().time()

    def now(self) -> int:
        return self.start + int((asyncio.get_running_loop().time() - self.began) * 1000)


async def test_an_unexpected_error_ends_the_run() -> None:
    class Broken(MemoryProgress):
        async def last(self, name: str) -> tuple[str, int] | None:
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        await Machine(Broken()).scheduler(every(60)).run(asyncio.Event())


async def test_an_enqueued_slot_is_said_and_a_duplicate_only_whispered() -> None:
    machine = Machine()
    first, second = machine.scheduler(every(60)), machine.scheduler(every(60))
    await asyncio.gather(first.tick(), second.tick())
    machine.pass_time(MINUTE)
    with structlog.testing.capture_logs() as logs:
        await asyncio.gather(first.tick(), second.tick())
    assert [(line["event"], line["log_level"], line["duplicate"]) for line in logs] == [
        ("schedule.enqueued", "info", False),
        ("schedule.enqueued", "debug", True),
    ]
    assert logs[0]["name"] == "report"
    assert logs[0]["slot"] == "2026-03-10T12:01:00+00:00"


async def test_entries_that_are_replaced_take_effect_at_the_next_look_and_a_spec_that_stays_goes_on() -> None:
    machine = Machine()
    scheduler = machine.scheduler(every(60, payload={"version": 1}))
    await scheduler.tick()
    scheduler.replace([every(60, payload={"version": 2}), every(60, name="new")])
    await scheduler.tick()
    machine.pass_time(MINUTE)
    await scheduler.tick()
    assert {key: job.payload for key, job in machine.queue.jobs.items()} == {
        f"schedule:report@{NOON + MINUTE}": '{"version":2}',
        f"schedule:new@{NOON + MINUTE}": "{}",
    }


async def test_a_running_scheduler_looks_at_replaced_entries_at_once() -> None:
    looked = asyncio.Event()

    class Watched(MemoryProgress):
        async def last(self, name: str) -> tuple[str, int] | None:
            if name == "new":
                looked.set()
            return await super().last(name)

    clock, stopping = RealClock(NOON), asyncio.Event()
    scheduler = Scheduler(MemoryQueue(), [every(3600)], Watched(), queue_clock=clock, wall_clock=clock)
    running = asyncio.create_task(scheduler.run(stopping))
    await asyncio.sleep(0)  # its first turn of the loop: it waits for an hour by then
    scheduler.replace([every(3600, name="new")])
    await asyncio.wait_for(looked.wait(), 30)
    stopping.set()
    await asyncio.wait_for(running, 30)
