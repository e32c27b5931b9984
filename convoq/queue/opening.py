"""The one place that names the engines: opens the queue that the settings ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from convoq.db import Database
from convoq.queue.service import QueueService
from convoq.queue.sqlite.backend import SqliteBackend
from convoq.settings import Options


@asynccontextmanager
async def open_queue(options: Options) -> AsyncIterator[tuple[Database, QueueService]]:
    database = await Database.open(options.database.path, min_free_mb=options.database.min_free_mb)
    async with database, AsyncExitStack() as stack:
        backend = SqliteBackend(database)
        stack.push_async_callback(backend.close)
        yield database, QueueService(backend, options.queue)
