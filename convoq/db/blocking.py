"""Writes that must come through while the event loop is blocked."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from convoq.db.connection import connect_writer, roll_back
from convoq.db.failures import explain, leaves_connection_untrusted
from convoq.db.gate import Gate
from convoq.errors import DatabaseUnavailable

T = TypeVar("T")
Args = TypeVarTuple("Args")


class BlockingWriter:
    """Runs a unit in a transaction of its own, from any thread, and returns its result; the commit is not fsynced.

    Its connection is opened with the first write. It has a gate of its own: flock belongs to the open file, so this
    one waits for the group commit of the same process as it does for another process.
    """

    def __init__(self, path: Path, gate: Gate, check: Callable[[], None]) -> None:
        self._path = path
        self._gate = gate
        self._check = check  # raises DatabaseRefused when another file stands where ours stood
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    def write(self, unit: Callable[[sqlite3.Connection, *Args], T], *args: *Args) -> T:
        """Raises DatabaseUnavailable, DatabaseRefused and what the unit raises; then nothing was written."""
        with self._lock:
            if self._closed:
                raise DatabaseUnavailable(f"{self._path}: is closed")
            try:
                with self._gate:
                    return self._transact(unit, *args)
            except sqlite3.Error as error:
                if leaves_connection_untrusted(error):
                    self._disconnect()
                raise explain(self._path, error) from error

    def close(self) -> None:
        """Waits for the write that is on its way."""
        with self._lock:
            self._closed = True
            self._disconnect()
            self._gate.close()

    def _transact(self, unit: Callable[[sqlite3.Connection, *Args], T], *args: *Args) -> T:
        connection = self._connection
        if connection is None:
            self._check()
            connection = self._connection = connect_writer(self._path)
            connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = unit(connection, *args)
            connection.execute("COMMIT")
        except BaseException:
            roll_back(connection)
            raise
        self._check()
        return result

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # Under the gate: the last connection of the file to close checkpoints.
            with suppress(sqlite3.Error, DatabaseUnavailable), self._gate:
                connection.close()
