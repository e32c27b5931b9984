"""Room in the write-ahead log: to flush what is overwritten takes less than to flush what makes a file longer."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from convoq.db.connection import roll_back
from convoq.db.files import MEGABYTE, log_of
from convoq.db.log_readers import log_bytes

ROOM_BYTES: Final = 8 * MEGABYTE  # of an hour of a busy number; a log that has once been longer stays so
_ZEROS: Final = bytes(MEGABYTE)


def make_room(connection: sqlite3.Connection, path: Path) -> None:
    """Makes the log at least ROOM_BYTES long; only a matter of speed, so a disk that has no room is no error.

    SQLite reads a log up to the first frame that is not of its present run: zeros end it as well as what an older run
    has left behind the newest frame. Call it holding the gate.
    """
    if log_bytes(path) >= ROOM_BYTES:
        return
    connection.execute("BEGIN IMMEDIATE")  # SQLite's own lock, which also keeps other programs from appending
    try:
        with suppress(OSError):
            _extend(log_of(path))
    finally:
        roll_back(connection)


def _extend(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CLOEXEC)  # SQLite has no locks on it that closing could drop
    try:
        size = end = os.fstat(descriptor).st_size
        try:
            while end < ROOM_BYTES:
                # Written, not allocated: a block that is only reserved costs its first flush what a new one costs.
                end += os.pwrite(descriptor, _ZEROS[: ROOM_BYTES - end], end)
            if end > size:
                os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)
