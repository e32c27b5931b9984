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
    await asyncio.wait_for(enqueued.wait(), 5)
    stopping.set()
    await asyncio.wait_for(running, 1)
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
