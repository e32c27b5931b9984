"""Which processes of convoq have been seen on this database."""

from __future__ import annotations

import os
import socket
import sqlite3
from dataclasses import dataclass

from convoq import __version__
from convoq.db import Database

FORGET_AFTER_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """A process as operators see it. Times are ms on the queue's clock."""

    id: str
    role: str
    host: str
    pid: int
    version: str
    started_at: int
    seen_at: int
    status: str


class Processes:
    """The table that every process writes itself into."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def announce(self, process_id: str, role: str, status: str) -> None:
        """This process is alive, and does this."""
        now = self._database.clock.now()
        row = (process_id, role, socket.gethostname(), os.getpid(), __version__, now, now, status)

        def unit(connection: sqlite3.Connection) -> None:
            connection.execute(ANNOUNCE, row)
            connection.execute("DELETE FROM processes WHERE seen_at < ?", (now - FORGET_AFTER_MS,))

        await self._database.write(unit, durable=False)

    async def leave(self, process_id: str) -> None:
        """This process has ended in order."""
        await self._database.write(
            lambda connection: connection.execute("DELETE FROM processes WHERE id = ?", (process_id,)), durable=False
        )

    async def seen(self) -> list[ProcessRecord]:
        """All of the last day that did not end in order, and those that run."""

        def unit(connection: sqlite3.Connection) -> list[ProcessRecord]:
            found = connection.execute("SELECT * FROM processes ORDER BY role, started_at").fetchall()
            return [ProcessRecord(**dict(zip(ProcessRecord.__slots__, row, strict=True))) for row in found]

        return await self._database.read(unit)


ANNOUNCE = """
    INSERT INTO processes (id, role, host, pid, version, started_at, seen_at, status) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, status = excluded.status
"""
