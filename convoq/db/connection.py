"""A SQLite connection and its thread, running whole functions."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import aiosqlite

T = TypeVar("T")

BUSY_TIMEOUT_MS = 4000  # only outsiders such as the sqlite3 shell can make us wait: our own processes queue at the gate
AUTOCHECKPOINT_PAGES = 20_000  # 40 MB of log: checkpoints every 1,000 pages are what makes the p99


class Connection(aiosqlite.Connection):
    """aiosqlite's connection: one hop to its thread for a whole function, not one for each statement."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, 64)
        # A thread stuck behind a foreign lock must not keep a stopped process alive.
        self._thread.daemon = True
        self._stopped: asyncio.Future[Any] | None = None

    async def _connect(self) -> Self:
        """When it fails, the thread has ended: else it would tell its end to an event loop that may be gone by then."""
        try:
            await super()._connect()
        except BaseException:
            if self._stopped is not None:
                await self._stopped
            raise
        return self

    def stop(self) -> asyncio.Future[Any] | None:
        self._stopped = super().stop()
        return self._stopped

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        result: T = await self._execute(function, self._conn)  # type: ignore[no-untyped-call] # aiosqlite's is untyped
        return result

    def post(self, function: Callable[[], None]) -> None:
        """Runs it on the thread; its end is not waited for."""
        self._tx.put_nowait((None, function))


def connect_writer(path: Path) -> sqlite3.Connection:
    connection = _connect(path)
    connection.execute("PRAGMA cache_size = -8000")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA wal_autocheckpoint = {AUTOCHECKPOINT_PAGES}")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    connection = _connect(path)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    # mode=rw: SQLite itself never creates the file; see birth.py.
    connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False)
    # Before anything else: even switching to WAL may have to wait for another process.
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    return connection


def roll_back(connection: sqlite3.Connection) -> None:
    """Ends an open transaction, whatever state it is in."""
    if connection.in_transaction:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
