"""Leaves nothing in the SQLite file of what was deleted from it."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Final

from convoq.db.files import MEGABYTE
from convoq.db.log_room import make_room

SPARE: Final = 16 * MEGABYTE


def missing_room(path: Path) -> int:
    """Bytes that the disk lacks for it: the file is written once more to the log, and once to a temporary file."""
    return 2 * path.stat().st_size + SPARE - shutil.disk_usage(path.parent).free


def scrub(connection: sqlite3.Connection, path: Path) -> bool:
    """Call it holding the gate. False: a reader keeps the log, which still has what was deleted.

    To overwrite what is deleted (secure_delete) is not enough: pages that were split before keep copies of moved rows.
    """
    connection.execute("VACUUM")
    busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if not busy:
        make_room(connection, path)
    return not busy
