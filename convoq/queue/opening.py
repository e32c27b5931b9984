"""The one place that names the engines: opens the queue that belongs to a store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from convoq.db import Database
from convoq.db.store import Store
from convoq.queue.base import JobAdmin, Queue, Settle, settle_nothing
from convoq.queue.following import BeginFollowUps, SharedFollowUps
from convoq.queue.sqlite.backend import SqliteQueue

if TYPE_CHECKING:
    from convoq.queue.postgres.backend import PostgresQueue


class OpenQueue(NamedTuple):
    """One engine from both its sides."""

    queue: Queue  #: for producers and workers, behind a QueueService
    jobs: JobAdmin  #: for operators
    follow_ups: BeginFollowUps  #: for what follows from the store's own transactions


@asynccontextmanager
async def open_queue(database: Store, settle: Settle = settle_nothing) -> AsyncIterator[OpenQueue]:
    """The queue of this store, until the end of the block; what was enqueued has woken the workers by then.

    `settle` is told of jobs that are buried, cancelled, discarded or retried, and says which are due instead.
    """
    engine = _beside(database, settle)
    try:
        yield OpenQueue(engine, engine, partial(SharedFollowUps, engine.joined))
    finally:
        await engine.close()


def _beside(database: Store, settle: Settle) -> SqliteQueue | PostgresQueue:
    """The queue that shares the store's database."""
    if isinstance(database, Database):
        return SqliteQueue(database, settle)
    # Here, because their driver is an extra.
    from convoq.db.postgres.store import PostgresDatabase
    from convoq.queue.postgres.backend import PostgresQueue

    if not isinstance(database, PostgresDatabase):
        raise TypeError(f"no queue is known to share {database.location}")
    return PostgresQueue(database, settle)
