"""Enqueues from the user's own Python programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from convoq.db import Database
from convoq.jobs import NORMAL, SendMessage, conversation_key, raw_job
from convoq.queue.base import Enqueued
from convoq.queue.service import QueueService
from convoq.queue.sqlite import SqliteBackend
from convoq.settings.load import load


class Client:
    """The queue for a producer: `async with connect() as client: await client.enqueue("invoice.remind", {...})`."""

    def __init__(self, config: Path | None) -> None:
        self._config = config
        self._database: Database
        self._backend: SqliteBackend
        self._queue: QueueService

    async def __aenter__(self) -> Self:
        options = load(self._config).options
        self._database = await Database.open(options.database.path, min_free_mb=options.database.min_free_mb)
        self._backend = SqliteBackend(self._database)
        self._queue = QueueService(self._backend, options.queue)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._backend.close()
        await self._database.close()

    async def enqueue(
        self,
        kind: str,
        payload: dict[str, Any],
        *,
        ordering_key: str | None = None,
        dedup_key: str | None = None,
        delay: float = 0.0,
        priority: int = NORMAL,
        max_attempts: int | None = None,
    ) -> Enqueued:
        """When this returns, the job is on disk, or one of the same `dedup_key` was there already.

        Jobs of one `ordering_key` run one at a time, in order; `delay` (seconds) is for jobs without one. Raises
        ValueError for a payload that does not fit a built-in kind, DatabaseUnavailable when it cannot be written.
        """
        job = raw_job(
            kind,
            payload,
            ordering_key=ordering_key,
            dedup_key=dedup_key,
            delay=delay,
            priority=priority,
            max_attempts=max_attempts,
        )
        return await self._queue.enqueue(job)

    async def send(self, *, sender: str, to: str, body: str, dedup_key: str | None = None) -> Enqueued:
        """Sends a message from one of our addresses, in the order of that person's conversation."""
        payload = SendMessage(our_address=sender, address=to, body=body)
        key = conversation_key(payload.channel, sender, to)
        return await self._queue.enqueue(payload.job(ordering_key=key, dedup_key=dedup_key))


def connect(config: str | Path | None = None) -> Client:
    """A client on the queue of this configuration (default: the same search as the command line's)."""
    return Client(Path(config) if config is not None else None)
