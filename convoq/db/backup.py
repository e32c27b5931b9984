"""Copies the database while it is in use: whole, private, checked, and never over another file."""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from convoq.db.files import create_private, publish
from convoq.errors import ConvoqError

if TYPE_CHECKING:
    from convoq.db import Database

#: They run on the original: where the copy is restored they would count as silent or killed, for a day.
PROCESSES: Final = "processes"


class Backup(NamedTuple):
    """A copy that was made and checked."""

    path: Path
    bytes: int
    schema: int
    rows: Mapping[str, int]  #: by table


class _Contents(NamedTuple):
    schema: int
    rows: Mapping[str, int]


async def back_up(database: Database, path: Path) -> Backup:
    """Copies one consistent snapshot to `path`, or into it when it is a directory.

    The copy has its name only once it is complete, checked and flushed. Raises ConvoqError.
    """
    path = _free_name(path)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        create_private(partial)
        contents = await database.read(_copy, partial)
        await asyncio.to_thread(_check, partial, contents)
        await asyncio.to_thread(publish, partial, path)
    except sqlite3.Error as error:
        raise ConvoqError(f"{path}: the copy failed: {error}") from error
    except OSError as error:
        raise ConvoqError(f"{path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return Backup(path, path.stat().st_size, *contents)


def _free_name(path: Path) -> Path:
    if path.is_dir():
        path = path / time.strftime("convoq-%Y%m%d-%H%M%S.db")
    if os.path.lexists(path):
        raise ConvoqError(f"{path}: is there already: choose another name, or remove it first")
    return path


def _copy(source: sqlite3.Connection, partial: Path) -> _Contents:
    # read()'s transaction holds a snapshot: without one, sqlite3_backup starts over when another connection writes.
    contents = _contents(source)
    with closing(sqlite3.connect(partial, isolation_level=None)) as target:
        source.backup(target)
        if PROCESSES in contents.rows:
            target.execute(f"DELETE FROM {PROCESSES}")  # noqa: S608 # a constant
        # In WAL mode the first connection to the copy would create a -wal file beside it.
        target.execute("PRAGMA journal_mode = DELETE")
    return contents._replace(rows={name: 0 if name == PROCESSES else count for name, count in contents.rows.items()})


def _contents(connection: sqlite3.Connection) -> _Contents:
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    # A virtual table (rootpage 0) has no rows of its own: they are in the tables behind it.
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0").fetchall()
    rows = {
        name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608 # the schema's own name
        for (name,) in tables
    }
    return _Contents(schema, rows)


def _check(partial: Path, wanted: _Contents) -> None:
    with closing(sqlite3.connect(f"{partial.absolute().as_uri()}?mode=ro", uri=True)) as copied:
        (verdict,) = copied.execute("PRAGMA integrity_check(1)").fetchone()
        found = _contents(copied)
    if verdict != "ok" or found != wanted:
        raise ConvoqError(f"the copy is not sound ({verdict}): look at both disks, and run convoq db check")
