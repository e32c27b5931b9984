"""The queue of a house, in its database or on Redis."""

from __future__ import annotations

import secrets

from convoq.conversations.erasing import Erasing
from convoq.conversations.text_index import TextIndex
from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from convoq.handlers.erasing import Erasure
from convoq.queue.base import Claim, Settle
from convoq.queue.postgres.backend import PostgresQueue
from convoq.queue.redis.backend import RedisQueue
from convoq.queue.redis.connection import Server
from convoq.queue.sqlite.backend import SqliteQueue
from tests.clock import ManualClock

Engine = SqliteQueue | PostgresQueue | RedisQueue


def open_redis(server: Server, database: Database | PostgresDatabase, settle: Settle, clock: ManualClock) -> Engine:
    # Tests have one database of PostgreSQL after the other, and each a queue of its own.
    return RedisQueue(server, database, settle, prefix=secrets.token_hex(8), clock=clock)


def open_engine(database: Database | PostgresDatabase, settle: Settle) -> Engine:
    return SqliteQueue(database, settle) if isinstance(database, Database) else PostgresQueue(database, settle)


def open_beside(engine: Engine, database: Database | PostgresDatabase, settle: Settle, clock: ManualClock) -> Engine:
    """The same queue, as another process has it."""
    if not isinstance(engine, RedisQueue):
        return open_engine(database, settle)
    prefix = engine._scripts.prefix.strip("{}:")
    return RedisQueue(engine._server, database, settle, prefix=prefix, clock=clock)


def erasure_of(database: Database | PostgresDatabase, engine: Engine, clock: ManualClock) -> Erasure:
    return Erasure(Erasing(database), TextIndex(database), engine, clock, database.scrub, channel="twilio")


FREE = "UPDATE lanes SET due_at = ?, receipt = NULL, worker = NULL WHERE receipt = ?"


async def free_on_redis(queue: RedisQueue, claim: Claim, now: int) -> None:
    keys = queue._scripts
    lane = f"{keys.prefix}m:{claim.lane}"
    if await keys.command("HGET", lane, "receipt") == claim.receipt.encode():
        await keys.command("HDEL", lane, "receipt", "worker", "held")
        await keys.command("ZADD", f"{keys.prefix}d:{claim.priority}", now, claim.lane)
