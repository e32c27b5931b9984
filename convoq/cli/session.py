"""Opens what a command needs: the settings, and a database that is there already."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from convoq.errors import ConvoqError, DatabaseRefused

if TYPE_CHECKING:
    from convoq.db import OpenMode
    from convoq.db.store import Store
    from convoq.queue.base import JobAdmin
    from convoq.queue.opening import OpenQueue
    from convoq.queue.service import QueueService
    from convoq.settings import DatabaseSettings, Options
    from convoq.settings.load import Loaded

T = TypeVar("T")

GATE_TIMEOUT_SECONDS: Final = 3.0  # a role holds the gate for milliseconds, a migration for as long as it takes


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
async def open_existing(options: Options) -> AsyncIterator[Store]:
    """The database as the running roles use it; nothing is created, nothing is migrated, nothing waits for ever.

    Raises ConvoqError when there is none yet, when it has an older schema, or when this user may not open it;
    DatabaseUnavailable that names the process when one holds the write gate and does not let go.
    """
    from convoq.db import OpenMode
    from convoq.db.opening import open_store

    async with AsyncExitStack() as stack:
        existing = open_store(options.database, mode=OpenMode.EXISTING, gate_timeout=GATE_TIMEOUT_SECONDS)
        try:
            database = await stack.enter_async_context(existing)
        except DatabaseRefused as error:
            if isinstance(error.__cause__, PermissionError):
                path = options.database.path.absolute()
                raise ConvoqError(f"{path}: {error.__cause__.strerror}: {_as_owner(path)}") from error
            raise
        yield database


def create_or_migrate(settings: DatabaseSettings, mode: OpenMode) -> tuple[int, int]:
    """The schema that the database had before (0: there was none), and what it has now. Raises ConvoqError."""
    from convoq.db.opening import open_store

    async def main() -> tuple[int, int]:
        async with open_store(settings, mode=mode, gate_timeout=GATE_TIMEOUT_SECONDS) as database:
            return database.found_schema, database.newest_schema

    return run_async(main())


@asynccontextmanager
async def open_queue(options: Options) -> AsyncIterator[tuple[Store, QueueService]]:
    """The same with its queue, for commands that enqueue."""
    from convoq.queue import opening
    from convoq.queue.service import QueueService

    async with open_existing(options) as database, opening.open_queue(database, options) as opened:
        yield database, QueueService(opened.queue, options.queue)


@asynccontextmanager
async def open_follow_ups(options: Options) -> AsyncIterator[tuple[Store, OpenQueue]]:
    """The same with what follows in its queue from the store's own transactions, and nothing settled by itself."""
    from convoq.queue import opening

    async with open_existing(options) as database, opening.open_queue(database, options) as opened:
        yield database, opened


@asynccontextmanager
async def open_jobs(options: Options) -> AsyncIterator[tuple[Store, JobAdmin]]:
    """The same with its jobs, for commands that show or change them."""
    from convoq.clock import WallClock
    from convoq.conversations.settling import Settling
    from convoq.queue import opening

    async with (
        open_existing(options) as database,
        opening.open_queue(database, options, Settling(database.clock, WallClock())) as opened,
    ):
        yield database, opened.jobs


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
