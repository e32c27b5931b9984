"""Connections to PostgreSQL, each with a thread that runs whole functions on it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from convoq.db.postgres.location import location_of
from convoq.db.postgres.transaction import adapters
from convoq.errors import DatabaseUnavailable

Connection = psycopg.Connection[tuple[Any, ...]]
AsyncConnection = psycopg.AsyncConnection[tuple[Any, ...]]
Job = Callable[["Slot"], None]

#: What the URL does not say otherwise. A machine that vanishes without a word is noticed in about ten seconds.
DEFAULTS: Final = {
    "application_name": "convoq",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where the database is, and how it is connected to: always in autocommit mode."""

    url: str
    password: str | None = None
    direct_url: str | None = None  #: around the transaction pooler that `url` leads through, for what keeps its session

    @property
    def location(self) -> str:
        return location_of(self.url)

    def connect(self) -> Connection:
        return psycopg.connect(
            self._parameters(self.url), autocommit=True, prepare_threshold=self._prepare_threshold, context=adapters()
        )

    async def connect_async(self) -> AsyncConnection:
        return await psycopg.AsyncConnection.connect(
            self._parameters(self.url), autocommit=True, prepare_threshold=self._prepare_threshold, context=adapters()
        )

    async def connect_directly(self) -> AsyncConnection:
        """To keep a session: what it listens to, and the locks that are its own."""
        url = self.direct_url or self.url
        return await psycopg.AsyncConnection.connect(self._parameters(url), autocommit=True, context=adapters())

    @property
    def _prepare_threshold(self) -> int | None:
        return None if self.direct_url else 5  # behind a pooler no statement outlives its transaction

    def _parameters(self, url: str) -> str:
        password = {"password": self.password} if self.password else {}
        given: dict[str, Any] = {**DEFAULTS, **password, **conninfo_to_dict(url)}
        return make_conninfo("", **given, client_encoding="utf8")


class Slot:
    """One thread's connection, opened when it is first needed, and again after it was lost."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None

    @property
    def is_connected(self) -> bool:
        return self._connection is not None and not self._connection.closed

    def connection(self) -> Connection:
        """Raises psycopg.Error."""
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return self._connection

    def disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()


class Pool:
    """A few threads that take what is posted, in order, each with a connection of its own."""

    def __init__(self, size: int, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        # Daemons: a thread stuck behind a server that does not answer must not keep a stopped process alive.
        self._threads = [threading.Thread(target=self._run, name="postgres", daemon=True) for _ in range(size)]
        self._started = 0
        self._idle = threading.Semaphore(0)
        self._closed = False

    def post(self, job: Job) -> None:
        """Threads, and with them connections, begin as they are needed. Raises DatabaseUnavailable once closed."""
        if self._closed:
            raise DatabaseUnavailable("the database is closed")
        self._jobs.put(job)
        if not self._idle.acquire(blocking=False) and self._started < len(self._threads):
            self._threads[self._started].start()
            self._started += 1

    async def close(self) -> None:
        """What was posted before is done."""
        if not self._closed:
            self._closed = True
            for _ in range(self._started):
                self._jobs.put(None)
            await asyncio.to_thread(self._join)

    def _join(self) -> None:
        for thread in self._threads[: self._started]:
            thread.join()

    def _run(self) -> None:
        slot = Slot(self._connect)
        while (job := self._take()) is not None:
            job(slot)
        slot.disconnect()

    def _take(self) -> Job | None:
        with suppress(Empty):
            return self._jobs.get_nowait()
        self._idle.release()
        return self._jobs.get()
