"""The least that a durable enqueue costs: one table, one UNIQUE column, one partial index, one writer thread."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from benchmarks import messages
from benchmarks.producers import enough, flat_out
from convoq.db.birth import PAGE_BYTES
from convoq.db.connection import AUTOCHECKPOINT_PAGES
from convoq.jobs import NewJob

TABLE = """
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY, message_sid TEXT NOT NULL UNIQUE, lane TEXT NOT NULL, payload TEXT NOT NULL,
        state INTEGER NOT NULL DEFAULT 0, run_at INTEGER NOT NULL DEFAULT 0
    ) STRICT
"""
INDEX = "CREATE INDEX jobs_ready ON jobs (run_at, id) WHERE state = 0"
INSERT = "INSERT INTO jobs (message_sid, lane, payload) VALUES (?, ?, ?)"


async def enqueue(*, directory: str, producers: int, seconds: float) -> dict[str, float]:
    prepared = messages.jobs(enough(producers, seconds), seed=1, people=10_000)
    table = BareTable(Path(directory) / "bare.db")
    try:
        return await flat_out(table.put, prepared, producers=producers, seconds=seconds)
    finally:
        table.close()


class _Put(NamedTuple):
    row: tuple[str | None, str | None, str]
    done: asyncio.Future[None]


class BareTable:
    """Whatever waits goes into one commit; everybody in it is told at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Put] = deque()
        self._bell: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    async def put(self, job: NewJob) -> None:
        done: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(_Put(((job.dedup_key or "").rpartition(":")[2], job.ordering_key, job.payload), done))
        self._bell.put(True)
        await done

    def close(self) -> None:
        self._bell.put(False)
        self._thread.join()

    def _write(self) -> None:
        connection = _connect(self._path)
        while self._bell.get():
            batch: list[_Put] = []
            while self._waiting:
                batch.append(self._waiting.popleft())
            if batch:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(INSERT, [put.row for put in batch])
                connection.execute("COMMIT")
                self._loop.call_soon_threadsafe(_settle, batch)
        connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -8000")
    connection.execute(f"PRAGMA wal_autocheckpoint = {AUTOCHECKPOINT_PAGES}")
    connection.execute(TABLE)
    connection.execute(INDEX)
    return connection


def _settle(batch: list[_Put]) -> None:
    for put in batch:
        put.done.set_result(None)
