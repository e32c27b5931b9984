"""The scheduler's jobs: conversations that fell silent, and the file's housekeeping."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from convoq.conversations.lifecycle import Lifecycle
from convoq.handlers.base import ClaimContext, Handler
from convoq.logs import log
from convoq.queue.base import JobAdmin
from convoq.settings import ConversationSettings, QueueSettings

BATCH = 200  # rows a transaction, so that the writer is never held long


def process_idle(lifecycle: Lifecycle, timing: ConversationSettings) -> Handler:
    """Marks conversations idle that have been silent for idle_after. Running it twice changes nothing more."""

    async def handler(_: ClaimContext) -> None:
        marked = await _in_batches(lambda: lifecycle.mark_idle(silent_for=timing.idle_after, limit=BATCH))
        if marked:
            log.info("conversations.idled", count=marked)

    return handler


def process_expired(lifecycle: Lifecycle, timing: ConversationSettings) -> Handler:
    """Closes conversations that have been silent for expire_after. Running it twice changes nothing more."""

    async def handler(_: ClaimContext) -> None:
        closed = await _in_batches(lambda: lifecycle.close_expired(silent_for=timing.expire_after, limit=BATCH))
        if closed:
            log.info("conversations.expired", count=closed)

    return handler


def housekeeping(jobs: JobAdmin, tidy: Callable[[], Awaitable[None]], settings: QueueSettings) -> Handler:
    """Prunes finished jobs past their retention, then has the store tidy itself up."""

    async def handler(_: ClaimContext) -> None:
        pruned = await _in_batches(lambda: jobs.prune(older_than=settings.retention, limit=BATCH))
        await tidy()
        log.info("housekeeping.done", pruned=pruned)

    return handler


async def _in_batches(step: Callable[[], Awaitable[int]]) -> int:
    total = 0
    while (done := await step()) > 0:
        total += done
    return total
