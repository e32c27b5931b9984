"""What operators see and do with jobs on Redis. It walks in pages from here: a long script would stop the server."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from convoq.clock import Clock
from convoq.db.store import Store
from convoq.jobs import RESERVED, NewJob
from convoq.queue.base import EndedJob, Ending, JobFilter, JobRecord, JobState, KindStats, Settle, Stats
from convoq.queue.redis.connection import Argument, Reply, Scripts
from convoq.queue.redis.enqueue import new_job_arguments
from convoq.queue.redis.rewriting import rewrite_files
from convoq.queue.rules import CLOCK_LAG_MS

T = TypeVar("T")

PAGE: Final = 200  # jobs with their payloads
STATS_PAGE: Final = 500
UNNOTICED_OFFSET: Final = 50  # ms
OLDEST: Final = "-inf"
NEWEST: Final = "+inf"


@dataclass(frozen=True, slots=True)
class _Row:
    """A job as a page has it."""

    record: JobRecord
    is_under_claim: bool  #: its lane is, whether or not it is this job that was charged


_Page = list[_Row]


@dataclass(slots=True)
class _Count:
    """What pages have told of one kind so far."""

    ready: int = 0
    scheduled: int = 0
    running: int = 0
    dead: int = 0
    unstarted: int = 0
    waiting_since: list[int] = field(default_factory=list)
    unstarted_since: list[int] = field(default_factory=list)


class RedisJobs:
    """The contract of queue.base.JobAdmin on one Redis server."""

    def __init__(self, scripts: Scripts, store: Store, settle: Settle, clock: Clock | None) -> None:
        self._scripts = scripts
        self._store = store
        self._settle = settle
        self._clock = clock
        self._last_offset = 0
        self._unfinished: set[asyncio.Task[Any]] = set()

    # --- Time

    def _now(self) -> Argument:
        """For a script; empty: it asks the server."""
        return "" if self._clock is None else self._clock.now()

    def _offset(self, server_now: int) -> int:
        """ms from the server's clock to the store's, in which all times are told."""
        offset = self._store.clock.now() - server_now
        # What an answer takes is no change: a job's times are the same each time that they are looked at.
        if abs(offset - self._last_offset) > UNNOTICED_OFFSET:
            self._last_offset = offset
        return self._last_offset

    # --- Seeing

    async def stats(self) -> Stats:
        counts: defaultdict[str, _Count] = defaultdict(_Count)
        now = 0
        for index in ("ready", "dead"):
            last: str | None = OLDEST
            while last is not None:
                now, reached, kinds = await self._scripts.run("stats", self._now(), index, last, STATS_PAGE)
                last = None if reached is None else f"({reached.decode()}"
                for row in kinds:
                    _add(counts[row[0].decode()], row)
        offset = self._offset(now)
        return Stats({kind: _as_stats(counts[kind], now, offset) for kind in sorted(counts)})

    async def list(self, where: JobFilter, *, limit: int = 50, before: str | None = None) -> list[JobRecord]:
        found: list[JobRecord] = []
        if limit > 0:
            async for row in self._walk(where, before=before):
                found.append(row.record)
                if len(found) == limit:
                    break
        return found

    async def count(self, where: JobFilter) -> int:
        return sum([1 async for _ in self._walk(where)])

    async def get(self, job_id: str) -> JobRecord | None:
        found = await self.list(JobFilter(ids=(job_id,)), limit=1)
        return found[0] if found else None

    async def busy(self, ordering_keys: Sequence[str]) -> set[str]:
        return {ordering_keys[index] for index in await self._scripts.run("busy", *ordering_keys)}

    async def _walk(
        self, where: JobFilter, *, before: str | None = None, oldest_first: bool = False
    ) -> AsyncIterator[_Row]:
        """The jobs that the filter means, newest first or oldest first."""
        if where.ids is not None:
            rows = await self._page("ids", *sorted(_numbers(where.ids), reverse=not oldest_first))
            pages: AsyncIterator[_Page] = _only(rows)
        else:
            pages = self._pages(where, before, oldest_first=oldest_first)
        async for page in pages:
            for row in page:
                if _is_meant(row.record, where) and (before is None or int(row.record.id) < int(before)):
                    yield row

    async def _pages(self, where: JobFilter, before: str | None, *, oldest_first: bool) -> AsyncIterator[_Page]:
        index = _index(where)
        start = OLDEST if oldest_first else NEWEST if before is None else f"({before}"
        while rows := await self._page(index, start, PAGE, int(oldest_first)):
            yield rows
            start = f"({rows[-1].record.id}"
            # Ids are in the order of time, but for jobs that waited long to be written.
            too_old = where.since is not None and rows[-1].record.enqueued_at < where.since - CLOCK_LAG_MS
            if too_old and not oldest_first:
                return

    async def _page(self, *arguments: Argument) -> _Page:
        now, *rows = await self._scripts.run("page", self._now(), *arguments)
        offset = self._offset(now)
        return [_row(row, offset) for row in rows]

    # --- Acting

    async def retry_dead(self, where: JobFilter, *, limit: int = 500) -> int:
        return await self._whole(self._end(Ending.RETRIED, "revive", where, limit, _is_retryable))

    async def run_now(self, where: JobFilter, *, limit: int = 500) -> int:
        return await self._whole(self._end(Ending.RUN_NOW, "run_now", where, limit, _is_movable))

    async def cancel(self, where: JobFilter, *, limit: int = 500) -> int:
        return await self._whole(self._end(Ending.CANCELLED, "cancel", where, limit, _is_cancellable))

    async def discard(self, where: JobFilter, *, limit: int = 500) -> int:
        return await self._whole(self._end(Ending.DISCARDED, "discard", where, limit, _is_over))

    async def _end(
        self, ending: Ending, script: str, where: JobFilter, limit: int, is_fit: Callable[[_Row], bool]
    ) -> int:
        """Settles in the store what is found now, then has the script look at each job again; how many it ended.

        A job that began to run between the two finds in the store that nothing is left for it to do.
        """
        chosen: list[EndedJob] = []
        async for row in self._walk(where, oldest_first=True):
            if len(chosen) == limit:
                break
            if is_fit(row):
                job = row.record
                chosen.append(EndedJob(id=job.id, kind=job.kind, payload=job.payload, error=job.error))
        if not chosen:
            return 0
        due = await self._settled(ending, chosen)
        return int(await self._scripts.run(script, self._now(), len(chosen), *(job.id for job in chosen), *due))

    async def _settled(self, ending: Ending, jobs: Sequence[EndedJob]) -> Sequence[Argument]:
        """The jobs that are due instead, as scripts read them."""
        if not jobs:
            return []
        due: Sequence[NewJob] = await self._store.write(self._settle, ending, jobs)
        return [each for job in due for each in new_job_arguments(job, job.max_attempts)]

    async def erase(self, ids: Sequence[str]) -> int:
        numbers = _numbers(ids)
        return int(await self._scripts.run("erase", self._now(), *numbers)) if numbers else 0

    async def scrub(self) -> str | None:
        """Has the server write its files anew, as it does by itself from time to time."""
        return await rewrite_files(self._scripts)

    async def prune(self, *, older_than: float, limit: int = 500) -> int:
        return int(await self._scripts.run("prune", self._now(), round(older_than * 1000), limit))

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """What the store has settled the queue must end, also when the caller is cancelled between the two."""
        task = asyncio.create_task(work)
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        if self._unfinished:
            await asyncio.wait(self._unfinished)
        await self._scripts.close()


def _index(where: JobFilter) -> str:
    """The shortest list of jobs that all those stand in that the filter means."""
    states = set(where.states) if where.states is not None else set(JobState)
    if where.standings is not None:
        states &= {standing.state for standing in where.standings}
    if where.waiting_key is not None:
        return f"w:{where.waiting_key}"
    if states == {JobState.READY}:
        return "ready"
    return "dead" if states == {JobState.DEAD} else "all"


def _numbers(ids: Sequence[str]) -> list[int]:
    """Ids are numbers; anything else names no job."""
    return list({int(each) for each in ids if each.isascii() and each.isdigit() and len(each) < 16})


async def _only(rows: _Page) -> AsyncIterator[_Page]:
    yield rows


def _is_meant(job: JobRecord, where: JobFilter) -> bool:
    return (
        (where.ids is None or job.id in where.ids)
        and (where.kinds is None or job.kind in where.kinds)
        and (where.states is None or job.state in where.states)
        and (where.standings is None or job.standing in where.standings)
        and (where.since is None or job.enqueued_at >= where.since)
        and (where.ordering_key is None or job.ordering_key == where.ordering_key)
        and (where.text is None or where.text in job.payload or where.text in (job.error or ""))
    )


def _is_retryable(row: _Row) -> bool:
    return row.record.state in (JobState.DEAD, JobState.CANCELLED)


def _is_movable(row: _Row) -> bool:
    return row.record.state is JobState.READY and (row.record.scheduled or row.is_under_claim)


def _is_cancellable(row: _Row) -> bool:
    return row.record.state is JobState.READY and not row.record.running


def _is_over(row: _Row) -> bool:
    return row.record.state is not JobState.READY


def _row(row: Sequence[Reply], offset: int) -> _Row:
    job_id, lane, kind, payload, state, attempt, max_attempts, priority, enqueued, claimed, finished = row[:11]
    due, running, worker, error, dedup, reason, scheduled, under_claim = row[11:]
    lane = lane.decode()
    record = JobRecord(
        id=job_id.decode(),
        ordering_key=None if lane.startswith(RESERVED) else lane,
        kind=kind.decode(),
        payload=payload.decode(),
        state=JobState(state.decode()),
        attempt=int(attempt),
        max_attempts=int(max_attempts),
        priority=int(priority),
        enqueued_at=int(enqueued) + offset,
        claimed_at=_time(claimed, offset),
        finished_at=_time(finished, offset),
        due_at=_time(due, offset),
        running=running == 1,
        worker=_text(worker),
        error=_text(error),
        dedup_key=_text(dedup),
        reason=_text(reason),
        scheduled=scheduled == 1,
    )
    return _Row(record, under_claim == 1)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _time(value: bytes | None, offset: int) -> int | None:
    return None if value is None else int(value) + offset


def _add(count: _Count, row: Sequence[Reply]) -> None:
    _, ready, scheduled, running, dead, waiting_since, unstarted, unstarted_since = row
    count.ready += ready
    count.scheduled += scheduled
    count.running += running
    count.dead += dead
    count.unstarted += unstarted
    if waiting_since is not None:
        count.waiting_since.append(waiting_since)
    if unstarted_since is not None:
        count.unstarted_since.append(unstarted_since)


def _as_stats(count: _Count, now: int, offset: int) -> KindStats:
    return KindStats(
        ready=count.ready,
        scheduled=count.scheduled,
        running=count.running,
        dead=count.dead,
        oldest_wait=max(0, now - min(count.waiting_since)) / 1000 if count.waiting_since else 0.0,
        unstarted=count.unstarted,
        unstarted_since=min(count.unstarted_since) + offset if count.unstarted_since else None,
    )
