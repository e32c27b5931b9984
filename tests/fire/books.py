"""What a site's store and queue hold, asked from outside and read-only: the same questions of each engine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Protocol

import psycopg
import redis

from convoq.db.postgres.transaction import adapters, translate
from tests.servers.redis import RedisServer

Row = tuple[Any, ...]
UNREADABLE: Final = (OSError, sqlite3.Error, psycopg.Error, redis.RedisError)  #: not there yet, locked, or away


class StoreBooks(Protocol):
    """The conversations, and the queue's tables where they share the database."""

    @property
    def checks(self) -> Mapping[str, str]:
        """What it says of itself; none of them may find anything."""
        ...

    def rows(self, sql: str, *values: object) -> list[Row]: ...


class QueueBooks(Protocol):
    def is_quiet(self) -> bool:
        """Whether no job is left to run."""
        ...

    def flaws(self) -> Iterator[str]:
        """What may not be once everything has come to its end."""
        ...

    def received(self) -> list[Row]:
        """Lane and payload of each webhook's job, in order."""
        ...

    def finished(self) -> int: ...

    def jobs_of(self, sid: str) -> object:
        """All that is known of the jobs of a message."""
        ...


class SqliteStore:
    checks: Final[Mapping[str, str]] = {
        "integrity_check": "SELECT * FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
        "foreign_key_check": "SELECT * FROM pragma_foreign_key_check",
    }

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self, sql: str, *values: object) -> list[Row]:
        """This connection never checkpoints."""
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(sql, values).fetchall()


class PostgresStore:
    checks: Final[Mapping[str, str]] = {}

    def __init__(self, url: str) -> None:
        self._url = url

    def rows(self, sql: str, *values: object) -> list[Row]:
        with psycopg.connect(self._url, autocommit=True, context=adapters()) as connection:
            return connection.execute(translate(sql).encode(), values).fetchall()


class SqlQueue:
    """The queue's tables beside the conversations. On PostgreSQL an empty lane stays until the next claim."""

    def __init__(self, store: StoreBooks) -> None:
        self._rows = store.rows

    def is_quiet(self) -> bool:
        return not self._rows("SELECT 1 FROM jobs WHERE state = 'ready' LIMIT 1")

    def flaws(self) -> Iterator[str]:
        for what, sql in QUEUE_FLAWS.items():
            for row in self._rows(sql):
                yield f"{what}: {' '.join(str(value)[-200:] for value in row)}"

    def received(self) -> list[Row]:
        return self._rows("SELECT lane, payload FROM jobs WHERE kind = 'receive_message' ORDER BY id")

    def finished(self) -> int:
        return int(self._rows("SELECT count(*) FROM jobs WHERE state = 'done'")[0][0])

    def jobs_of(self, sid: str) -> object:
        known = "SELECT id, state, attempt, claimed_at, error FROM jobs WHERE dedup_key LIKE ?"
        return self._rows(known, f"%{sid}")


QUEUE_FLAWS: Final = {
    "a lane is claimed": "SELECT lane, worker FROM lanes WHERE worker IS NOT NULL",
    "a job is not done": "SELECT id, kind, state, error FROM jobs WHERE state <> 'done'",
    "a dedup key has two jobs": "SELECT dedup_key FROM jobs WHERE dedup_key <> '' GROUP BY 1 HAVING count(*) > 1",
}


class RedisQueueBooks:
    """The keys as `scripts/common.lua` describes them."""

    def __init__(self, server: RedisServer) -> None:
        self._client: Any = redis.Redis.from_url(server.url, decode_responses=True)

    def is_quiet(self) -> bool:
        return bool(self._client.zcard(f"{KEYS}ready") == 0)

    def flaws(self) -> Iterator[str]:
        for name in ("d:0", "d:1", "d:2", "d:3", "a:0", "a:1", "a:2", "a:3"):
            yield from (f"a lane is left: {lane}" for lane in self._client.zrange(f"{KEYS}{name}", 0, -1))
        for job in self._jobs():
            if job["state"] != "done":
                yield f"a job is not done: {job}"

    def received(self) -> list[Row]:
        jobs = [job for job in self._jobs() if job["kind"] == "receive_message"]
        return [(job["lane"], self._client.get(f"{KEYS}p:{job['id']}") or "") for job in jobs]

    def finished(self) -> int:
        return sum(job["state"] == "done" for job in self._jobs())

    def jobs_of(self, sid: str) -> object:
        return [job for job in self._jobs() if sid in (self._client.get(f"{KEYS}p:{job['id']}") or "")]

    def _jobs(self) -> list[dict[str, str]]:
        ids = self._client.zrange(f"{KEYS}all", 0, -1)
        return [{"id": id_} | self._client.hgetall(f"{KEYS}j:{id_}") for id_ in ids]


KEYS: Final = "{convoq}:"
