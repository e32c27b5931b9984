"""Enqueues in the SQLite file: whatever is handed in while a commit runs goes into the next one, in few statements."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import NamedTuple

from convoq.clock import Clock
from convoq.db import Database
from convoq.db.transaction import Transaction
from convoq.errors import DatabaseUnavailable
from convoq.jobs import RESERVED, NewJob
from convoq.queue.base import Enqueued
from convoq.queue.rules import require_unicode
from convoq.queue.sql import CHARGED
from convoq.queue.sqlite import dedup


class _Call(NamedTuple):
    """One caller's jobs, all or none of them, and who waits for them."""

    jobs: Sequence[NewJob]
    max_attempts: int
    done: asyncio.Future[list[Enqueued]]


class JobInserter:
    """Adds jobs to an open transaction."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Lanes of jobs without a key: in order of their making, so that the index grows at its end.
        self._lane_prefix = f"{RESERVED}{clock.now():x}-{secrets.token_hex(4)}-"
        self._lane_number = count()

    def insert(self, tx: Transaction, new: Sequence[tuple[NewJob, int]]) -> list[Enqueued]:
        """One result for each job, which comes with the attempts that it has unless it says so itself."""
        if all(job.waiting_key is None for job, _ in new):
            return self._insert(tx, new)
        # One by one: the next job may have to join this one.
        return [self._join_waiting(tx, job) or self._insert(tx, [(job, attempts)])[0] for job, attempts in new]

    def _join_waiting(self, tx: Transaction, job: NewJob) -> Enqueued | None:
        """None where no job of its waiting key waits."""
        found = tx.execute(WAITING, (job.waiting_key,)).fetchone()
        if found is None:
            return None
        [waiting] = found
        now = self._clock.now()
        if job.dedup_key is not None:
            if (original := dedup.find(tx, job.dedup_key, now)) is not None:
                return Enqueued(str(original), duplicate=True)
            dedup.claim(tx, [(waiting, job.dedup_key)], now)
        tx.execute(RENEW, (job.kind, job.payload, _start_by(job, now), waiting))
        return Enqueued(str(waiting), duplicate=False, joined=True)

    def _insert(self, tx: Transaction, new: Sequence[tuple[NewJob, int]]) -> list[Enqueued]:
        now = self._clock.now()
        first = tx.execute(LAST_ID).fetchone()[0] + 1
        keyed = [(i, job.dedup_key) for i, (job, _) in enumerate(new, first) if job.dedup_key is not None]
        originals = dedup.claim(tx, keyed, now)
        rows: list[tuple[object, ...]] = []
        lanes: dict[str, tuple[str, int, int]] = {}
        for job_id, (job, max_attempts) in enumerate(new, first):
            if job_id in originals:
                continue
            lane = job.ordering_key or f"{self._lane_prefix}{next(self._lane_number):08x}"
            attempts = job.max_attempts or max_attempts
            row = (job_id, lane, job.kind, job.payload, job.priority, attempts, now, job.dedup_key)
            rows.append((*row, job.waiting_key, _start_by(job, now)))
            if lane not in lanes or job.priority < lanes[lane][1]:
                due_at = now + round(job.delay * 1000) if job.delay else now
                lanes[lane] = (lane, job.priority, due_at)
        tx.executemany(JOIN_LANE, lanes.values())
        tx.executemany(INSERT_JOB, rows)
        ids = range(first, first + len(new))
        return [Enqueued(str(originals.get(job_id, job_id)), job_id in originals) for job_id in ids]


class EnqueueBatcher:
    """The way into the queue. A cancelled caller's jobs are stored whole or not at all."""

    def __init__(self, database: Database, inserter: JobInserter) -> None:
        self._database = database
        self._inserter = inserter
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Call] = deque()
        self._submitted = False  # a unit is on its way that will take whatever waits by then

    def enqueue(self, jobs: Sequence[NewJob], max_attempts: int) -> asyncio.Future[list[Enqueued]]:
        """One result for each job, once all of them are on disk. Raises ValueError for text that is not Unicode."""
        for job in jobs:
            require_unicode(job)
        call = _Call(jobs, max_attempts, self._loop.create_future())
        self._waiting.append(call)
        if not self._submitted:
            self._submitted = True
            self._submit()
        return call.done

    def _submit(self) -> None:
        """Hands one unit to the writer, for every call that comes until it is run."""
        taken: list[_Call] | None = None

        def unit(tx: Transaction) -> list[list[Enqueued]]:
            nonlocal taken
            if taken is None:  # a unit may be run again: then with the same calls
                taken = self._take()
            return self._insert(tx, taken)

        def settle(results: list[list[Enqueued]] | Exception) -> None:
            # A unit that was never run fails the calls that wait for it.
            _settle(self._take() if taken is None else taken, results)

        try:
            self._database.post(unit, settle)
        except DatabaseUnavailable as error:
            settle(error)

    def _take(self) -> list[_Call]:
        # The flag first: a call after it submits a unit of its own, at worst one that finds nothing.
        self._submitted = False
        taken: list[_Call] = []
        with suppress(IndexError):  # empty; both the writer's thread and the loop may be here at the same time
            while True:
                call = self._waiting.popleft()
                if not call.done.cancelled():
                    taken.append(call)
        return taken

    def _insert(self, tx: Transaction, calls: list[_Call]) -> list[list[Enqueued]]:
        results = iter(self._inserter.insert(tx, [(job, call.max_attempts) for call in calls for job in call.jobs]))
        return [[next(results) for _ in call.jobs] for call in calls]


LAST_ID = "SELECT max(last_deleted, (SELECT coalesce(max(id), 0) FROM jobs)) FROM job_ids"
INSERT_JOB = """
    INSERT INTO jobs (id, lane_id, lane, kind, payload, priority, max_attempts, enqueued_at, dedup_key,
                      waiting_key, start_by)
    VALUES (?1, (SELECT id FROM lanes WHERE lane = ?2), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
"""
# One that waits for another try takes neither the payload nor the time: it is joined only where no other one waits.
WAITING = f"""
    SELECT j.id FROM jobs AS j LEFT JOIN lanes AS l ON l.id = j.lane_id
    WHERE j.waiting_key = ? AND j.state = 'ready' AND NOT {CHARGED}
    ORDER BY j.claimed_at IS NOT NULL, j.id LIMIT 1
"""
# Without a time to be begun by it stays so: a person has asked for it.
RENEW = """
    UPDATE jobs SET kind = ?, payload = ?, start_by = max(start_by, ?) WHERE id = ? AND claimed_at IS NULL
"""
# A lane that is there keeps its due_at: it is claimed, backing off, or due already.
JOIN_LANE = """
    INSERT INTO lanes (lane, priority, due_at) VALUES (?, ?, ?)
    ON CONFLICT (lane) DO UPDATE SET priority = excluded.priority WHERE excluded.priority < priority
"""


def _start_by(job: NewJob, now: int) -> int | None:
    return None if job.start_within is None else now + round(job.start_within * 1000)


def _settle(calls: list[_Call], results: list[list[Enqueued]] | Exception) -> None:
    if isinstance(results, Exception):
        for call in calls:
            if not call.done.done():
                call.done.set_exception(results)
        return
    for call, result in zip(calls, results, strict=True):
        if not call.done.done():
            call.done.set_result(result)
