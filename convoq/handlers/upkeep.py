"""The scheduler's jobs: silent conversations, threads that wait for a turn, and the file's housekeeping."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from convoq.conversations.budgets import Budgets
from convoq.conversations.owner_timers import OwnerTimers
from convoq.conversations.repair import Repair
from convoq.conversations.retention import Retention
from convoq.conversations.silence import Lifecycle
from convoq.conversations.text_index import TextIndex
from convoq.handlers.base import ClaimContext, Handler
from convoq.handlers.receive import enqueue_turns
from convoq.logs import log
from convoq.queue.base import JobAdmin
from convoq.queue.following import BeginFollowUps
from convoq.settings import ConversationSettings, QueueSettings

BATCH = 200  # rows a transaction, so that the writer is never held long
MOST_INDEXED = 100_000  # messages a run: it must end within its deadline, and the next one goes on
MOST_MERGES = 1000
EXPIRED = 50  # rows a transaction: each takes its text out of the index, too
MOST_EXPIRED = 20_000  # rows a run
MOST_WOKEN = 500  # threads a run: a repair must not flood the queue that it mends


def process_idle(lifecycle: Lifecycle, timing: ConversationSettings, begin: BeginFollowUps) -> Handler:
    """Marks conversations idle that have been silent for idle_after. Running it twice changes nothing more."""

    async def handler(_: ClaimContext) -> None:
        follow_ups = begin()
        wake = partial(enqueue_turns, follow_ups)
        marked = await _in_batches(lambda: lifecycle.mark_idle(wake, silent_for=timing.idle_after, limit=BATCH))
        await follow_ups.send()
        if marked:
            log.info("conversations.idled", count=marked)

    return handler


def process_expired(lifecycle: Lifecycle, timing: ConversationSettings, begin: BeginFollowUps) -> Handler:
    """Closes conversations that have been silent for expire_after. Running it twice changes nothing more."""

    async def handler(_: ClaimContext) -> None:
        follow_ups = begin()
        wake = partial(enqueue_turns, follow_ups)
        closed = await _in_batches(lambda: lifecycle.close_expired(wake, silent_for=timing.expire_after, limit=BATCH))
        await follow_ups.send()
        if closed:
            log.info("conversations.expired", count=closed)

    return handler


def process_handovers(timers: OwnerTimers, begin: BeginFollowUps) -> Handler:
    """Takes the steps that are due where no person of ours has come, or one is silent. Safe to repeat."""

    async def handler(_: ClaimContext) -> None:
        follow_ups = begin()
        moved = await _in_batches(lambda: timers.run(partial(enqueue_turns, follow_ups), limit=BATCH))
        await follow_ups.send()
        if moved:
            log.info("handovers.moved", count=moved)

    return handler


def wake_threads(repair: Repair, begin: BeginFollowUps) -> Handler:
    """Gives a turn to each thread in which something has waited for a while that no job comes for, and a job to what
    else the store has begun.
    """

    async def handler(_: ClaimContext) -> None:
        follow_ups = begin()
        await repair.wake_overdue(partial(enqueue_turns, follow_ups), limit=MOST_WOKEN)
        if woken := await follow_ups.send():
            log.warning("threads.woken", count=woken)
        beside = begin()
        await repair.wake_work(beside.enqueue)
        await beside.send()

    return handler


def housekeeping(
    jobs: JobAdmin, texts: TextIndex, budgets: Budgets, retention: Retention, tidy: Callable[[], Awaitable[None]],
    settings: QueueSettings,
) -> Handler:  # fmt: skip
    """Prunes what is past its retention, takes requests without a worker for lost, indexes new texts, then has the
    store tidy itself up."""

    async def handler(_: ClaimContext) -> None:
        pruned = await _in_batches(lambda: jobs.prune(older_than=settings.retention, limit=BATCH))
        indexed = await _in_batches(lambda: texts.advance(BATCH), at_most=MOST_INDEXED)
        expired = 0
        for step in (
            retention.erased, retention.texts, retention.notes, retention.audit, retention.notifications,
            retention.keys, retention.bulk_acts,
        ):  # fmt: skip
            expired += await _in_batches(partial(step, EXPIRED), at_most=MOST_EXPIRED)
        await _in_batches(texts.forget_erased, at_most=MOST_MERGES)
        await _in_batches(lambda: budgets.settle_lost(BATCH))
        await tidy()
        log.info("housekeeping.done", pruned=pruned, indexed=indexed, expired=expired)

    return handler


async def _in_batches(step: Callable[[], Awaitable[int]], *, at_most: int | None = None) -> int:
    """What all steps did; the last one is the one that did nothing, or reached `at_most`."""
    total = 0
    while (at_most is None or total < at_most) and (done := await step()) > 0:
        total += done
    return total
