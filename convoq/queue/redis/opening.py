"""Opens the queue on the Redis server that the settings name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from convoq.db.store import Store
from convoq.logs import log
from convoq.queue.base import Settle
from convoq.queue.redis import requirements
from convoq.queue.redis.backend import RedisQueue
from convoq.queue.redis.connection import Server
from convoq.settings import RedisSettings


def server_of(settings: RedisSettings) -> Server:
    password = settings.password.get_secret_value() if settings.password else None
    authority = str(settings.ca_file) if settings.ca_file else None
    return Server(settings.url, settings.username, password, authority)


@asynccontextmanager
async def open_redis(store: Store, settle: Settle, settings: RedisSettings) -> AsyncIterator[RedisQueue]:
    """The queue, until the end of the block.

    Raises DatabaseRefused for a server that would break what convoq promises, DatabaseUnavailable where none answers.
    """
    server = server_of(settings)
    facts = await requirements.check(server, settings)
    if settings.accept_loss and not facts.fsyncs_always:
        log.warning("queue.may_lose", server=str(server))
    replicas = requirements.replicas(facts, settings)
    engine = RedisQueue(server, store, settle, prefix=settings.prefix, replicas=replicas)
    try:
        await engine.ownership.require()
        yield engine
    finally:
        await engine.close()
