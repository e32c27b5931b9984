"""A queue, a progress and two clocks that the tests turn by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from convoq.errors import DatabaseUnavailable
from convoq.jobs import NewJob
from convoq.queue.base import Enqueued
from convoq.scheduler.entries import ScheduleEntry
from convoq.scheduler.progress import Look, Progress
from convoq.scheduler.scheduler import Scheduler
from tests.clock import ManualClock

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
MADRID, NEW_YORK = "Europe/Madrid", "America/New_York"


def at(text: str, zone: str = "UTC") -> int:
    """A moment in ms; fold=1 is written as a trailing "(2)"."""
    moment = datetime.fromisoformat(text.removesuffix("(2)")).replace(tzinfo=ZoneInfo(zone))
    return int(moment.replace(fold=int(text.endswith("(2)"))).timestamp() * 1000)


NOON = at("2026-03-10T12:00")


class MemoryQueue:
    """Keeps what was enqueued, each dedup key once. Refuses while `broken`."""

    def __init__(self) -> None:
        self.jobs: dict[str, NewJob] = {}
        self.duplicates = 0
        self.broken: Callable[[NewJob], bool] = lambda _: False

    async def enqueue(self, job: NewJob) -> Enqueued:
        await asyncio.sleep(0)  # a turn of the loop, as a write takes
        if self.broken(job):
            raise DatabaseUnavailable("the disk is full")
        assert job.dedup_key is not None
        duplicate = job.dedup_key in self.jobs
        self.duplicates += duplicate
        self.jobs.setdefault(job.dedup_key, job)
        return Enqueued(job.dedup_key, duplicate)

    def slots(self, name: str = "report") -> list[int]:
        """The slots of an entry in the order they were enqueued."""
        return [int(key.rpartition("@")[2]) for key in self.jobs if key.startswith(f"schedule:{name}@")]


class PausableProgress(Progress, Protocol):
    """With what operators do to it."""

    async def pause(self, name: str, *, reason: str | None) -> bool: ...

    async def resume(self, name: str, spec: str | None, moment: int) -> bool: ...


class MemoryProgress:
    def __init__(self) -> None:
        self.rows: dict[str, tuple[str, int]] = {}
        self.paused: set[str] = set()

    async def look(self) -> Look:
        return Look(frozenset(self.rows), frozenset(self.paused))

    async def forget(self, names: Collection[str]) -> None:
        for name in names:
            del self.rows[name]

    async def pause(self, name: str, *, reason: str | None) -> bool:
        self.paused.add(name)
        return True

    async def resume(self, name: str, spec: str | None, moment: int) -> bool:
        self.paused.discard(name)
        if spec is not None:
            await self.record(name, spec, moment)
        return True

    async def last(self, name: str) -> tuple[str, int] | None:
        return self.rows.get(name)

    async def record(self, name: str, spec: str, slot: int) -> None:
        self.rows[name] = (spec, slot)


class Machine:
    """One machine: a queue, a progress and both clocks, on which schedulers start and stop."""

    def __init__(self, progress: PausableProgress | None = None, now: int = NOON) -> None:
        self.queue = MemoryQueue()
        self.progress: PausableProgress = progress or MemoryProgress()
        self.queue_clock = ManualClock(now)
        self.wall_clock = ManualClock(now)

    def scheduler(self, *entries: ScheduleEntry) -> Scheduler:
        return Scheduler(self.queue, entries, self.progress, queue_clock=self.queue_clock, wall_clock=self.wall_clock)

    def pass_time(self, ms: int) -> None:
        self.queue_clock.advance(ms / 1000)
        self.wall_clock.advance(ms / 1000)

    def step_wall(self, ms: int) -> None:
        self.wall_clock.advance(ms / 1000)

    async def live(self, scheduler: Scheduler, ms: int) -> None:
        """Lets `ms` pass as run() would see them, waking when tick() asked to be woken."""
        end = self.queue_clock.now() + ms
        while self.queue_clock.now() < end:
            wait = await scheduler.tick()
            self.pass_time(min(max(1, round(wait * 1000)), end - self.queue_clock.now()))
        await scheduler.tick()


def every(seconds: float = 60, **changes: Any) -> ScheduleEntry:
    return ScheduleEntry(**{"name": "report", "kind": "report.send", "every": seconds, **changes})


def cron(expression: str, timezone: str = "UTC", **changes: Any) -> ScheduleEntry:
    return ScheduleEntry(
        **{"name": "report", "kind": "report.send", "cron": expression, "timezone": timezone, **changes}
    )
