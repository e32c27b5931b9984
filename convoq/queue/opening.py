"""The one place that names the engines: opens the queue that belongs to a store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from convoq.db import Database
from convoq.db.store import Store
from convoq.errors import ConfigError
from convoq.queue.base import JobAdmin, Queue, Settle, settle_nothing
from convoq.queue.following import BeginFollowUps, LaterFollowUps, SharedFollowUps
from convoq.queue.sqlite.backend import SqliteQueue
from convoq.settings import Options, RedisSettings

if TYPE_CHECKING:
    from convoq.queue.postgres.backend import PostgresQueue


class OpenQueue(NamedTuple):
    """One engine from both its sides."""

    queue: Queue  #: for producers and workers, behind a QueueService
    jobs: JobAdmin  #: for operators
    follow_ups: BeginFollowUps  #: for what follows from the store's own transactions


@asynccontextmanager
async def open_queue(store: Store, options: Options, settle: Settle = settle_nothing) -> AsyncIterator[OpenQueue]:
    """The queue of this store, until the end of the block; what was enqueued has woken the workers by then.

    `settle` is told of jobs that are buried, cancelled, discarded or retried, and says which are due instead. Raises
    DatabaseRefused for an engine that must not be used, DatabaseUnavailable for one that does not answer.
    """
    if options.queue.engine == "redis":
        async with _open_redis(store, options, settle) as opened:
            yield opened
        return
    engine = _beside(store, settle)
    try:
        yield OpenQueue(engine, engine, partial(SharedFollowUps, engine.joined))
    finally:
        await engine.close()


async def forget_redis(settings: RedisSettings) -> None:
    """Removes all of the queue that these settings name from its server. Raises DatabaseUnavailable."""
    from convoq.queue.redis.forgetting import forget_queue
    from convoq.queue.redis.opening import server_of

    await forget_queue(server_of(settings), settings.prefix)


def _beside(store: Store, settle: Settle) -> SqliteQueue | PostgresQueue:
    """The queue that shares the store's database."""
    if isinstance(store, Database):
        return SqliteQueue(store, settle)
    # Here, because their driver is an extra.
    from convoq.db.postgres.store import PostgresDatabase
    from convoq.queue.postgres.backend import PostgresQueue

    if not isinstance(store, PostgresDatabase):
        raise TypeError(f"no queue is known to share {store.location}")
    return PostgresQueue(store, settle)


@asynccontextmanager
async def _open_redis(store: Store, options: Options, settle: Settle) -> AsyncIterator[OpenQueue]:
    try:
        from convoq.queue.redis.opening import open_redis  # an extra: without it all is kept in one file
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise ConfigError('queue.engine is "redis", which needs its client: pip install "convoq[redis]"') from None
    async with open_redis(store, settle, options.redis) as engine:
        yield OpenQueue(engine, engine, partial(LaterFollowUps, engine))
