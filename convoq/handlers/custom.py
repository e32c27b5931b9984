"""Handlers of the user's own, found by name at start."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convoq.errors import ConfigError
from convoq.handlers.base import Handler, each
from convoq.jobs import message_job, raw_job
from convoq.plugins import AttributeMissing, load_plugin
from convoq.queue.base import Enqueued, Enqueuer, Job


@dataclass(frozen=True, slots=True)
class JobContext:
    """A job as a handler of the user's own sees it.

    The handler returns when the job is done, raises RetryLater, Snooze or Unrecoverable, or anything else for a retry
    with backoff. It may run more than once: whatever it does must be safe to repeat.
    """

    id: str
    kind: str
    attempt: int  #: 1 on the first start
    payload: dict[str, Any]
    _queue: Enqueuer

    async def enqueue(self, kind: str, payload: dict[str, Any], **options: Any) -> Enqueued:
        """Enqueues another job; durable when it returns. Options are those of `Client.enqueue`."""
        return await self._queue.enqueue(raw_job(kind, payload, **options))

    async def send(self, *, sender: str, to: str, body: str) -> Enqueued:
        """Sends a message in the order of its conversation; once, however often this job is run.

        (As long as it sends the same messages in every run: the job, both addresses and the text are the identity.)
        """
        return await self._queue.enqueue(
            message_job(sender, to, body, dedup_key=f"job:{self.id}:{_fingerprint(sender, to, body)}")
        )


def _fingerprint(*texts: str) -> str:
    """Tells messages apart without keeping them: dedup keys outlive the jobs."""
    return hashlib.blake2b("\0".join(texts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


CustomHandler = Callable[[JobContext], Awaitable[None]]


def load_custom(handlers: Mapping[str, str], queue: Enqueuer, *, base_dir: Path) -> dict[str, Handler]:
    """The user's handlers by kind. Modules are also looked for beside convoq.toml.

    Raises ConfigError, a line for each, where one cannot be imported, is not there or is not an async function.
    """
    loaded: dict[str, Handler] = {}
    problems: list[str] = []
    for kind, target in handlers.items():
        try:
            loaded[kind] = _as_handler(_load(target, base_dir), queue)
        except ConfigError as error:
            problems.append(f"handlers.{kind}: {error}")
    if problems:
        raise ConfigError("\n".join(problems))
    return loaded


def _load(target: str, base_dir: Path) -> CustomHandler:
    try:
        handler: CustomHandler = load_plugin(target, base_dir)
    except AttributeMissing as error:
        module_name, _, attribute = target.partition(":")
        raise ConfigError(f'"{target}": module "{module_name}" has no attribute "{attribute}"') from error
    except ConfigError as error:
        raise ConfigError(f'"{target}" {error}') from error
    if not _is_async(handler):
        raise ConfigError(f'"{target}" is not an async function')
    return handler


def _is_async(found: Any) -> bool:
    """An async function, or an object with an async __call__."""
    called = inspect.getattr_static(type(found), "__call__", None)
    return inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(called)


def _as_handler(function: CustomHandler, queue: Enqueuer) -> Handler:
    async def run(job: Job) -> None:
        await function(JobContext(job.id, job.kind, job.attempt, json.loads(job.payload), queue))

    return each(run)
