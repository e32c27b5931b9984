"""Where a site keeps its conversations and its queue: a file, or servers of its own that may be harmed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.fire.books import PostgresStore, QueueBooks, RedisQueueBooks, SqliteStore, SqlQueue, StoreBooks
from tests.servers.postgres import PostgresServer, running_postgres
from tests.servers.redis import RedisServer, running_redis

ENGINES: Final = ("sqlite", "postgres", "redis", "redis+postgres")


@dataclass(frozen=True)
class Engine:
    """What the roles are told of it, who answers for it, and what it holds."""

    settings: dict[str, str]
    store: StoreBooks
    queue: QueueBooks
    servers: dict[str, PostgresServer | RedisServer] = field(default_factory=dict)


@contextmanager
def open_engine(name: str, database: Path) -> Iterator[Engine]:
    """An empty one; `database` is the file where there is one."""
    with ExitStack() as stack:
        servers: dict[str, PostgresServer | RedisServer] = {}
        store: StoreBooks = SqliteStore(database)
        settings = {"CONVOQ_DATABASE__PATH": str(database)}
        if "postgres" in name:
            servers["PostgreSQL"] = postgres = stack.enter_context(running_postgres())
            settings = {"CONVOQ_DATABASE__URL": postgres.create_database()}
            store = PostgresStore(settings["CONVOQ_DATABASE__URL"])
        queue: QueueBooks = SqlQueue(store)
        if "redis" in name:
            servers["Redis"] = redis = stack.enter_context(running_redis())
            settings |= {"CONVOQ_QUEUE__ENGINE": "redis", "CONVOQ_REDIS__URL": redis.url}
            queue = RedisQueueBooks(redis)
        yield Engine(settings, store, queue, servers)
