"""What the store does with the queue inside its own transactions: both are in one PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from convoq.db.transaction import Transaction
from convoq.jobs import NewJob
from convoq.queue.base import Claim
from convoq.queue.postgres.text import stored_json, stored_key

# Numbers travel as bigint.
JOIN: Final = """
    SELECT queue_join(:now, :lane, :keyed = 1, :kind, :payload, CAST(:priority AS smallint), :delay,
        CAST(:attempts AS integer), CAST(:waiting_key AS text), CAST(:start_within AS bigint))
"""
END: Final = "SELECT queue_end(:now, :lane, :receipt, CAST(:jobs AS bigint[]), :state, NULL, false, true)"
KICK: Final = "SELECT queue_kick(:now, ARRAY[:lane])"


class PostgresJoined:
    """The contract of queue.following.Joined on the database that the queue shares with the store."""

    def __init__(self, now: Callable[[], int | None], lanes: Iterator[str], wake: Callable[[], None]) -> None:
        self._now = now
        self._lanes = lanes
        self.wake = wake

    def enqueue(self, tx: Transaction, job: NewJob) -> bool:
        if job.dedup_key is not None or job.max_attempts is None:
            raise ValueError(f"{job.kind}: a job of the store's has max_attempts and no dedup key")
        values = {
            "now": self._now(),
            "lane": next(self._lanes) if job.ordering_key is None else stored_key(job.ordering_key),
            "keyed": job.ordering_key is not None,
            "kind": stored_key(job.kind),
            "payload": stored_json(job.payload),
            "priority": job.priority,
            "delay": round(job.delay * 1000),
            "attempts": job.max_attempts,
            "waiting_key": stored_key(job.waiting_key),
            "start_within": None if job.start_within is None else round(job.start_within * 1000),
        }
        [added] = tx.execute(JOIN, values).fetchone()
        return bool(added)

    def ack(self, tx: Transaction, claim: Claim, *, forget: bool) -> bool:
        values = {
            "now": self._now(),
            "lane": stored_key(claim.lane),
            "receipt": claim.receipt,
            "jobs": [int(job.id) for job in claim.jobs],
            "state": "forgotten" if forget else "done",
        }
        [ended] = tx.execute(END, values).fetchone()
        return ended is not None

    def kick(self, tx: Transaction, ordering_key: str) -> None:
        tx.execute(KICK, {"now": self._now(), "lane": stored_key(ordering_key)})
