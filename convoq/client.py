"""Enqueues from the user's own Python programs."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Self

from convoq.db import OpenMode
from convoq.db.opening import open_store
from convoq.errors import ConvoqError
from convoq.jobs import NORMAL, NewJob, message_job, raw_job
from convoq.queue.base import Enqueued, Queue
from convoq.queue.opening import open_queue
from convoq.settings.load import load

GATE_TIMEOUT_SECONDS: Final = 30.0  # for another process's write; a program waits longer than a person


class Client:
    """The queue for a producer: `async with connect() as client: await client.enqueue("invoice.remind", {...})`.

    It neither creates nor migrates a database: one of its own, made by a wrong working directory, would swallow every
    job, and a migration stops the roles of an older version. Entering it raises ConfigError for settings that cannot be
    used, ConvoqError where there is no database yet or one of an older schema, DatabaseRefused where it was lost.
    """

    def __init__(self, config: Path | None) -> None:
        self._config = config
        self._stack = AsyncExitStack()
        self._queue: Queue | None = None
        self._max_attempts = 1

    async def __aenter__(self) -> Self:
        options = load(self._config).options
        existing = open_store(options.database, mode=OpenMode.EXISTING, gate_timeout=GATE_TIMEOUT_SECONDS)
        async with AsyncExitStack() as stack:
            database = await stack.enter_async_context(existing)
            self._queue = (await stack.enter_async_context(open_queue(database, options))).queue
            self._stack = stack.pop_all()
        self._max_attempts = options.queue.max_attempts
        return self

    async def __aexit__(self, *_: object) -> None:
        self._queue = None
        await self._stack.aclose()

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
        ValueError for a payload that does not fit a built-in kind, DatabaseUnavailable when it cannot be written now,
        DatabaseRefused when the file was lost or replaced since.
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
        return await self._enqueue(job)

    async def send(self, *, sender: str, to: str, body: str, dedup_key: str | None = None) -> Enqueued:
        """Sends a message from one of our addresses, in the order of that person's conversation."""
        return await self._enqueue(message_job(sender, to, body, dedup_key=dedup_key))

    async def _enqueue(self, job: NewJob) -> Enqueued:
        # Not through the service: its events are for convoq's own log, not for the output of the user's program.
        if self._queue is None:
            raise ConvoqError("the client is not open: use it inside `async with connect() as client`")
        return (await self._queue.enqueue([job], max_attempts=self._max_attempts))[0]


def connect(config: str | Path | None = None) -> Client:
    """A client on the queue of this configuration (default: the same search as the command line's)."""
    return Client(Path(config) if config is not None else None)
