"""Enqueues in the SQLite file: whatever is handed in while a commit runs goes into the next one, in few statements."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import sqlite3
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import NamedTuple

from convoq.db import Database
from convoq.jobs import NewJob
from convoq.queue.base import Enqueued


class _Call(NamedTuple):
    """One caller's jobs, all or none of them, and who waits for them."""

    jobs: Sequence[NewJob]
    max_attempts: int
    done: asyncio.Future[list[Enqueued]]


class Intake:
    """The way into the queue. A cancelled caller's jobs are stored whole or not at all."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[_Call] = deque()
        self._submitted = False  # a unit is on its way that will take whatever waits by then
        # Lanes of jobs without a key: in order of their making, so that the index grows at its end.
        self._lane_prefix = f"~{database.clock.now():x}-{secrets.token_hex(4)}-"
        self._lane_number = count()

    async def enqueue(self, jobs: Sequence[NewJob], max_attempts: int) -> list[Enqueued]:
        """One result for each job, once all of them are on disk. Raises ValueError for text that is not Unicode."""
        for job in jobs:
            f"{job.kind}{job.payload}{job.ordering_key}{job.dedup_key}".encode()
        call = _Call(jobs, max_attempts, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if not self._submitted:
            self._submitted = True
            self._submit()
        return await call.done

    def _submit(self) -> None:
        """Hands one unit to the writer, for every call that comes until it is run."""
        taken: list[_Call] | None = None

        def unit(connection: sqlite3.Connection) -> list[list[Enqueued]]:
            nonlocal taken
            if taken is None:  # a unit may be run again: then with the same calls
                taken = self._take()
            return self._insert(connection, taken)

        def settle(written: asyncio.Future[list[list[Enqueued]]]) -> None:
            # A unit that was never run fails those who wait for it.
            _settle(self._take() if taken is None else taken, written)

        self._database.submit(unit).add_done_callback(settle)

    def _take(self) -> list[_Call]:
        # The flag first: who comes after it submits a unit of its own, at worst one that finds nothing.
        self._submitted = False
        taken: list[_Call] = []
        with suppress(IndexError):  # empty; both the writer's thread and the loop may be here at the same time
            while True:
                call = self._waiting.popleft()
                if not call.done.cancelled():
                    taken.append(call)
        return taken

    def _insert(self, connection: sqlite3.Connection, calls: list[_Call]) -> list[list[Enqueued]]:
        now = self._database.clock.now()
        jobs = [(job, call.max_attempts) for call in calls for job in call.jobs]
        first = _last_id(connection) + 1
        ids = range(first, first + len(jobs))
        originals = _claim_dedup_keys(connection, [(i, job) for i, (job, _) in zip(ids, jobs, strict=True)], now)
        rows: list[tuple[object, ...]] = []
        lanes: dict[str, tuple[str, int, int]] = {}
        for job_id, (job, max_attempts) in zip(ids, jobs, strict=True):
            if job_id in originals:
                continue
            lane = job.ordering_key or f"{self._lane_prefix}{next(self._lane_number):08x}"
            attempts = max_attempts if job.max_attempts is None else job.max_attempts
            rows.append((job_id, lane, job.kind, job.payload, job.priority, attempts, now, job.dedup_key))
            urgent = min(job.priority, lanes[lane][1]) if lane in lanes else job.priority
            lanes[lane] = (lane, urgent, now + round(job.delay * 1000))
        connection.executemany(INSERT_JOB, rows)
        connection.executemany(JOIN_LANE, lanes.values())
        results = iter([Enqueued(str(originals.get(job_id, job_id)), job_id in originals) for job_id in ids])
        return [[next(results) for _ in call.jobs] for call in calls]


# AUTOINCREMENT's own counter: ids are given out here, so that one statement inserts many rows.
LAST_ID = "SELECT seq FROM sqlite_sequence WHERE name = 'jobs'"
INSERT_JOB = """
    INSERT INTO jobs (id, lane, kind, payload, priority, max_attempts, enqueued_at, dedup_key)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
INSERT_DEDUP = "INSERT INTO dedup (job_id, digest, enqueued_at) VALUES (?, ?, ?) ON CONFLICT (digest) DO NOTHING"
# A lane that is there keeps its due_at: it is claimed, backing off, or due already.
JOIN_LANE = """
    INSERT INTO lanes (lane, priority, due_at) VALUES (?, ?, ?)
    ON CONFLICT (lane) DO UPDATE SET priority = excluded.priority WHERE excluded.priority < priority
"""


def _last_id(connection: sqlite3.Connection) -> int:
    row = connection.execute(LAST_ID).fetchone()
    return int(row[0]) if row else 0


def _claim_dedup_keys(connection: sqlite3.Connection, jobs: list[tuple[int, NewJob]], now: int) -> dict[int, int]:
    """Takes the jobs' keys; returns the ids that were too late, each with the id of the job that has its key."""
    keyed = [(job_id, _digest(job.dedup_key), now) for job_id, job in jobs if job.dedup_key is not None]
    if connection.executemany(INSERT_DEDUP, keyed).rowcount == len(keyed):
        return {}
    originals: dict[int, int] = {}
    for job_id, digest, _ in keyed:
        (owner,) = connection.execute("SELECT job_id FROM dedup WHERE digest = ?", (digest,)).fetchone()
        if owner != job_id:
            originals[job_id] = owner
    return originals


def _digest(dedup_key: str) -> bytes:
    return hashlib.blake2b(dedup_key.encode(), digest_size=16).digest()


def _settle(calls: list[_Call], written: asyncio.Future[list[list[Enqueued]]]) -> None:
    error = written.exception()
    results = written.result() if error is None else [[]] * len(calls)
    for call, result in zip(calls, results, strict=True):
        if call.done.done():
            continue
        if error is None:
            call.done.set_result(result)
        else:
            call.done.set_exception(error)
