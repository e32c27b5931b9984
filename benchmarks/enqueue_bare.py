"""The least that a durable enqueue costs: one table, one writer thread, one commit for all who wait."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple

from benchmarks import messages
from benchmarks.producers import enough, flat_out
from convoq.db.birth import PAGE_BYTES
from convoq.db.connection import AUTOCHECKPOINT_PAGES
from convoq.db.log_room import make_room
from convoq.jobs import NewJob

Row = tuple[str | None, ...]


class Table(NamedTuple):
    statements: tuple[str, ...]
    insert: str
    page_bytes: int
    row: Callable[[NewJob], Row]


TABLES: Final = {
    "queue": Table(
        (
            """CREATE TABLE jobs (
                   id INTEGER PRIMARY KEY, message_sid TEXT NOT NULL UNIQUE, lane TEXT NOT NULL, payload TEXT NOT NULL,
                   state INTEGER NOT NULL DEFAULT 0, run_at INTEGER NOT NULL DEFAULT 0
               ) STRICT""",
            "CREATE INDEX jobs_ready ON jobs (run_at, id) WHERE state = 0",
        ),
        "INSERT INTO jobs (message_sid, lane, payload) VALUES (?, ?, ?)",
        PAGE_BYTES,
        lambda job: ((job.dedup_key or "").rpartition(":")[2], job.ordering_key, job.payload),
    ),
    "journal": Table(
        ("CREATE TABLE journal (id INTEGER PRIMARY KEY, payload TEXT NOT NULL) STRICT",),
        "INSERT INTO journal (payload) VALUES (?)",
        4096,
        lambda job: (job.payload,),
    ),
}


async def enqueue(*, directory: str, producers: int, seconds: float, table: str) -> dict[str, float]:
    prepared = messages.jobs(enough(producers, seconds), seed=1, people=10_000)
    bare = BareTable(Path(directory) / "bare.db", TABLES[table])
    try:
        return await flat_out(bare.put, prepared, producers=producers, seconds=seconds)
    finally:
        bare.close()


class _Put(NamedTuple):
    row: Row
    done: asyncio.Future[None]


class BareTable:
    """Whatever one turn of the loop has put goes into one commit; all producers in it are told at once."""

    def __init__(self, path: Path, table: Table) -> None:
        self._path = path
        self._table = table
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Put] = []
        self._batches: SimpleQueue[list[_Put]] = SimpleQueue()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    async def put(self, job: NewJob) -> None:
        done: asyncio.Future[None] = self._loop.create_future()
        if not self._waiting:
            self._loop.call_soon(self._hand_over)
        self._waiting.append(_Put(self._table.row(job), done))
        await done

    def close(self) -> None:
        self._batches.put([])
        self._thread.join()

    def _hand_over(self) -> None:
        self._batches.put(self._waiting)
        self._waiting = []

    def _write(self) -> None:
        connection = _connect(self._path, self._table)
        while batch := self._next_batch():
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(self._table.insert, [put.row for put in batch])
            connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(_settle, batch)
        connection.close()

    def _next_batch(self) -> list[_Put]:
        batch = self._batches.get()
        while batch:
            try:
                batch += self._batches.get_nowait()
            except Empty:
                break
        return batch


def _connect(path: Path, table: Table) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size = {table.page_bytes}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -8000")
    connection.execute(f"PRAGMA wal_autocheckpoint = {AUTOCHECKPOINT_PAGES}")
    for statement in table.statements:
        connection.execute(statement)
    make_room(connection, path)
    return connection


def _settle(batch: list[_Put]) -> None:
    for put in batch:
        put.done.set_result(None)
