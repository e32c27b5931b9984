"""A server that a test has for itself, and queues on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from convoq.db import Database
from convoq.db.store import Store
from convoq.queue.redis.backend import RedisQueue
from convoq.queue.redis.connection import Server
from convoq.queue.redis.enqueue import Replicas
from convoq.queue.redis.presence import PresenceTimings
from tests.servers.redis import RedisServer, running_redis
from tests.servers.sqlite import lay_database

HASTY = PresenceTimings(absence=0.2, settling=0.4, pause=0.02)


class OpenQueueOn(Protocol):
    async def __call__(
        self, server: Server, *, replicas: Replicas | None = None, store: Store | None = None
    ) -> RedisQueue: ...


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
async def open_on(tmp_path: Path) -> AsyncIterator[OpenQueueOn]:
    """One more queue by the server's own clock, as another process would open it."""
    queues: list[RedisQueue] = []
    async with await Database.open(lay_database(tmp_path / "convoq.db")) as database:

        async def open_one(
            server: Server, *, replicas: Replicas | None = None, store: Store | None = None
        ) -> RedisQueue:
            queue = RedisQueue(server, store or database, prefix=str(tmp_path), replicas=replicas, timings=HASTY)
            queues.append(queue)
            return queues[-1]

        yield open_one
        for queue in queues:
            await queue.close()
