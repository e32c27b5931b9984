"""Enqueues on Redis: whatever is handed in while the server works shares the next script and its fsync."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from convoq.errors import DatabaseUnavailable
from convoq.jobs import NewJob
from convoq.queue.base import Enqueued
from convoq.queue.redis.connection import Argument, Scripts
from convoq.queue.rules import DEDUP_RETENTION_MS, require_unicode

MOST_JOBS: Final = 500  # in one script, so that it never holds the server for long


class Replicas(NamedTuple):
    """What an enqueue waits for besides the server's own disk."""

    wanted: int
    timeout: float  #: seconds
    fsynced: bool  #: on their disks (WAITAOF), not only in their memory (WAIT)


class _Caller(NamedTuple):
    """One caller's jobs, all or none of them, and who waits for them."""

    jobs: Sequence[NewJob]
    max_attempts: int
    done: asyncio.Future[list[Enqueued]]


class EnqueueBatcher:
    """The way into the queue. A cancelled caller's jobs are stored whole or not at all."""

    def __init__(self, scripts: Scripts, replicas: Replicas | None, now: Callable[[], Argument]) -> None:
        """The scripts' connection is for enqueues alone: what waits for replicas holds up nothing else."""
        self._scripts = scripts
        self._replicas = replicas
        self._now = now
        self._waiting: deque[_Caller] = deque()
        self._storing: asyncio.Task[None] | None = None

    async def enqueue(self, jobs: Sequence[NewJob], max_attempts: int) -> list[Enqueued]:
        """One result for each job, once all of them are durable. Raises ValueError for text that is not Unicode."""
        for job in jobs:
            require_unicode(job)
        if not jobs:
            return []
        caller = _Caller(jobs, max_attempts, asyncio.get_running_loop().create_future())
        self._waiting.append(caller)
        if self._storing is None or self._storing.done():
            self._storing = asyncio.create_task(self._store())
        return await caller.done

    async def _store(self) -> None:
        await asyncio.sleep(0)  # whatever else this turn of the loop brings goes along
        while self._waiting:
            callers = self._take()
            try:
                results = await self._insert(callers)
            except Exception as error:  # noqa: BLE001 # whatever it is, it is the callers' answer
                for caller in callers:
                    if not caller.done.done():
                        caller.done.set_exception(error)
                continue
            for caller in callers:
                own, results = results[: len(caller.jobs)], results[len(caller.jobs) :]
                if not caller.done.done():
                    caller.done.set_result(own)

    def _take(self) -> list[_Caller]:
        callers: list[_Caller] = []
        jobs = 0
        while self._waiting and (not callers or jobs + len(self._waiting[0].jobs) <= MOST_JOBS):
            caller = self._waiting.popleft()
            if not caller.done.cancelled():
                callers.append(caller)
                jobs += len(caller.jobs)
        return callers

    async def _insert(self, callers: Sequence[_Caller]) -> list[Enqueued]:
        if not callers:
            return []
        jobs = [
            each
            for caller in callers
            for job in caller.jobs
            for each in new_job_arguments(job, job.max_attempts or caller.max_attempts)
        ]
        waits = self._replicas is not None
        stored = self._scripts.run("enqueue", self._now(), DEDUP_RETENTION_MS, int(waits), *jobs)
        if self._replicas is not None:
            await self._replicated(self._replicas)
        return [Enqueued(job_id.decode(), duplicate == 1, joined == 1) for job_id, duplicate, joined in await stored]

    async def _replicated(self, replicas: Replicas) -> None:
        """Raises DatabaseUnavailable when too few have it in time: the jobs are there, but may be lost."""
        timeout = round(replicas.timeout * 1000)
        if replicas.fsynced:
            _, count = await self._scripts.command("WAITAOF", 0, replicas.wanted, timeout)
        else:
            count = await self._scripts.command("WAIT", replicas.wanted, timeout)
        if count < replicas.wanted:
            raise DatabaseUnavailable(
                f"{count} of {replicas.wanted} replicas of Redis took the job within {replicas.timeout:g} s"
            )

    async def close(self) -> None:
        """What was handed in before is stored."""
        if self._storing is not None:
            await asyncio.wait({self._storing})
        await self._scripts.close()


def new_job_arguments(job: NewJob, max_attempts: int | None) -> tuple[Argument, ...]:
    """A job as the scripts read it."""
    key = job.dedup_key
    return (
        job.ordering_key or "",
        job.kind,
        job.payload,
        job.priority,
        round(job.delay * 1000),
        max_attempts or 0,
        "" if key is None else blake2b(key.encode(), digest_size=16).digest(),
        key or "",
        job.waiting_key or "",
        "" if job.start_within is None else round(job.start_within * 1000),
    )
