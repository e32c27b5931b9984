"""A queue with workers on it that a test can look into, and the handlers they run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from convoq.db import Database
from convoq.handlers.base import ClaimContext, Handlers
from convoq.jobs import INTAKE, INTAKE_KIND, NewJob
from convoq.queue.base import JobRecord, JobState
from convoq.queue.service import QueueService
from convoq.queue.sqlite.backend import SqliteQueue
from convoq.settings import QueueSettings
from convoq.worker import Worker, WorkerTimings

BRISK = WorkerTimings(maintenance=0.02, unavailable=0.1, beat=0.02)
SOON = 20.0  # seconds; nothing takes this long unless it is broken
NEVER = 3600.0  # seconds between two looks of a worker that is not woken: one that begins sooner was woken

Handler = Callable[[ClaimContext], Awaitable[None]]


@dataclass
class Running:
    """A worker at work."""

    worker: Worker
    service: QueueService
    engine: SqliteQueue
    stopping: asyncio.Event
    at_once: asyncio.Event
    task: asyncio.Task[None]

    async def ended(self) -> None:
        """Raises what ended it."""
        async with asyncio.timeout(SOON):
            await self.task

    async def stop(self) -> None:
        self.stopping.set()
        await self.ended()


@dataclass
class House:
    """A queue, and as many workers on it as a test wants."""

    database: Database
    engine: SqliteQueue
    stack: list[Running] = field(default_factory=list)

    async def put(self, *keys: str | None, kind: str = "k", **options: Any) -> list[str]:
        jobs = [NewJob(kind=kind, payload="{}", ordering_key=key, **options) for key in keys]
        return [result.job_id for result in await self.engine.enqueue(jobs, max_attempts=5)]

    async def receive(self, *keys: str) -> list[str]:
        return await self.put(*keys, kind=INTAKE_KIND, priority=INTAKE)

    async def record(self, job_id: str) -> JobRecord:
        found = await self.engine.get(job_id)
        assert found is not None
        return found

    async def until(self, job_id: str, condition: Callable[[JobRecord], bool]) -> JobRecord:
        async with asyncio.timeout(SOON):
            while not condition(record := await self.record(job_id)):  # noqa: ASYNC110 # a row can only be looked at
                await asyncio.sleep(0.005)
        return record

    async def until_done(self, *job_ids: str) -> None:
        for job_id in job_ids:
            await self.until(job_id, lambda record: record.state is JobState.DONE)

    async def due_in(self) -> float:
        due = await self.engine.next_due()
        assert due is not None
        return due

    @asynccontextmanager
    async def working(
        self,
        handler: Handler | None = None,
        *,
        concurrency: int = 4,
        deadline: float = 60.0,
        drain_timeout: float = 60.0,
        drain: bool = False,
        lease: float = 30.0,
        name: str = "w",
        intake: Handler | None = None,
        together: Collection[str] = (),
        forgotten: Collection[str] = (),
        timings: WorkerTimings = BRISK,
        on_stuck: Callable[[], object] = lambda: None,
    ) -> AsyncIterator[Running]:
        engine = SqliteQueue(self.database, look=NEVER)
        service = QueueService(engine, QueueSettings(backoff_base=600, backoff_cap=600), random=lambda: 1.0)
        service.lease = lease
        handlers = {kind: run for kind, run in (("k", handler), (INTAKE_KIND, intake)) if run is not None}
        worker = Worker(
            service,
            Handlers(handlers, frozenset(together), frozenset(forgotten)),
            name=name,
            concurrency=concurrency,
            deadline=deadline,
            drain_timeout=drain_timeout,
            timings=timings,
            on_stuck=on_stuck,
        )
        stopping, at_once = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(worker.run(stopping, at_once=at_once, drain=drain))
        running = Running(worker, service, engine, stopping, at_once, task)
        try:
            yield running
        finally:
            stopping.set()
            at_once.set()
            with suppress(Exception):
                await asyncio.wait_for(task, SOON)
            await engine.close()


class Gate:
    """A handler that waits inside until it is let go, and tells what it saw."""

    def __init__(self) -> None:
        self.entered = asyncio.Semaphore(0)
        self.open = asyncio.Event()
        self.inside = 0
        self.most = 0
        self.started: list[str] = []
        self.cancelled = asyncio.Event()

    async def __call__(self, context: ClaimContext) -> None:
        self.started += [job.id for job in context.claim.jobs]
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.entered.release()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self.inside -= 1

    async def holds(self, count: int = 1) -> None:
        async with asyncio.timeout(SOON):
            for _ in range(count):
                await self.entered.acquire()


async def nothing(_: ClaimContext) -> None: ...
