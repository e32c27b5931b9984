"""Opens what a command needs: the settings, and a database that is there already."""

from __future__ import annotations

import asyncio
import os
import pwd
import sqlite3
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from convoq.errors import ConvoqError

if TYPE_CHECKING:
    from convoq.db import Database
    from convoq.queue.base import JobAdmin
    from convoq.queue.service import QueueService
    from convoq.settings import Options
    from convoq.settings.load import Loaded

T = TypeVar("T")


def load_settings(config: Path | None) -> Loaded:
    """The settings of a command that only talks to people: its log is warnings, on standard error."""
    from convoq import logs
    from convoq.settings.load import load

    loaded = load(config)
    logs.configure("warning", "auto")
    return loaded


def run_async(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(main)


@asynccontextmanager
async def open_existing(options: Options) -> AsyncIterator[Database]:
    """The database as the running roles use it; nothing is created and nothing is migrated.

    Raises ConvoqError when there is none yet, when it has an older schema, or when this user may not open it.
    """
    from convoq.db import Database

    path = options.database.path.absolute()
    try:
        if not path.exists():
            raise ConvoqError(f"no database at {path} yet: start convoq serve, or run convoq db migrate")
        await asyncio.to_thread(_refuse_older, path)
        database = await Database.open(path, min_free_mb=options.database.min_free_mb)
    except PermissionError as error:
        raise ConvoqError(f"{path}: {error.strerror}: {_as_owner(path)}") from error
    async with database:
        yield database


@asynccontextmanager
async def open_queue(options: Options) -> AsyncIterator[tuple[Database, QueueService]]:
    """The same with its queue, for commands that enqueue."""
    from convoq.queue import opening
    from convoq.queue.service import QueueService

    async with open_existing(options) as database, opening.open_queue(database) as opened:
        yield database, QueueService(opened.queue, options.queue)


@asynccontextmanager
async def open_jobs(options: Options) -> AsyncIterator[tuple[Database, JobAdmin]]:
    """The same with its jobs, for commands that show or change them."""
    from convoq.conversations.settling import settle
    from convoq.queue import opening

    async with open_existing(options) as database, opening.open_queue(database, settle) as opened:
        yield database, opened.jobs


def _refuse_older(path: Path) -> None:
    # Opening would migrate, which stops the roles of an older version that still run on the file.
    from convoq.db import migrations

    try:
        version = migrations.schema_version(path)
    except sqlite3.Error:
        return  # opening it for real says what is wrong in better words
    newest = migrations.known()[-1].version
    if version < newest:
        raise ConvoqError(
            f"{path}: has schema {version}, this convoq has {newest}: restart the three roles with this version, "
            "or run convoq db migrate"
        )


def _as_owner(path: Path) -> str:
    """How to run the command as the user whose database it is."""
    try:
        owner = pwd.getpwuid(_nearest(path).stat().st_uid).pw_name
    except (OSError, KeyError):
        return "run it as the user of the service"
    return f"run it as the database's owner: sudo -u {owner} convoq ..."


def _nearest(path: Path) -> Path:
    """The path itself or what is nearest above it, as far as this user can see."""
    for candidate in (path, *path.parents):
        if os.access(candidate, os.F_OK):
            return candidate
    return Path("/")
