"""Finds who waits though no job comes: the store is the truth, and a queue may lose what wakes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from convoq.conversations import bulk_acts, erasures
from convoq.conversations.threads import Thread
from convoq.db.store import Store
from convoq.db.transaction import Transaction
from convoq.jobs import NewJob, bulk_job, erasure_job

OVERDUE: Final = timedelta(minutes=2)  #: beyond what a turn said that it would take, and what a queue may take


class Repair:
    """Safe to repeat: a turn that finds nothing to do ends."""

    def __init__(self, database: Store) -> None:
        self._database = database

    async def wake_overdue(self, wake: Callable[[Transaction, Sequence[Thread]], int], *, limit: int) -> int:
        """Calls `wake`, in one transaction, with at most `limit` threads that are overdue; what it returned."""

        def unit(tx: Transaction) -> int:
            return wake(tx, find_overdue(tx, self._database.clock.now(), limit))

        return await self._database.write(unit)

    async def wake_work(self, enqueue: Callable[[Transaction, NewJob], object]) -> None:
        """What stands in the store has its job again."""
        if await self._database.read(_due_work):
            await self._database.write(lambda tx: [enqueue(tx, job) for job in _due_work(tx)])


def _due_work(tx: Transaction) -> list[NewJob]:
    return [*([erasure_job()] if erasures.is_any(tx) else []), *map(bulk_job, bulk_acts.running(tx))]


def find_overdue(tx: Transaction, now: int, limit: int) -> list[Thread]:
    """They count as woken now."""
    since = now - OVERDUE // timedelta(milliseconds=1)
    found = [Thread(*row) for row in tx.execute(OVERDUE_THREADS, {"since": since, "limit": limit})]
    tx.executemany("UPDATE threads SET wake_at = ? WHERE id = ?", [(now, thread.id) for thread in found])
    return found


# From the few that wait or pend: their indexes hold no others. (The unary plus keeps SQLite from beginning with all
# threads.)
OVERDUE_THREADS = """
    SELECT t.id, t.lane FROM
        (SELECT thread_id FROM messages WHERE direction = 'in' AND outcome IS NULL
         GROUP BY thread_id HAVING min(at) <= :since
         UNION SELECT thread_id FROM outbox WHERE state IN ('ready', 'sending', 'ambiguous')) AS overdue
    JOIN threads AS t ON t.id = +overdue.thread_id WHERE t.wake_at <= :since LIMIT :limit
"""
