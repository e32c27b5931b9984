"""What the store does with the queue inside its own transactions: both are in one SQLite file."""

from __future__ import annotations

from collections.abc import Callable

from convoq.clock import Clock
from convoq.db.transaction import Transaction
from convoq.errors import LeaseLost
from convoq.jobs import NewJob
from convoq.queue.base import Claim
from convoq.queue.rules import SEARCHED_OF_LANE
from convoq.queue.sql import CHARGED
from convoq.queue.sqlite import lanes
from convoq.queue.sqlite.enqueue import JobInserter


class SqliteJoined:
    """The contract of queue.following.Joined on the file that the queue shares with the store."""

    def __init__(self, clock: Clock, inserter: JobInserter, wake: Callable[[], None]) -> None:
        self._clock = clock
        self._inserter = inserter
        self.wake = wake

    def enqueue(self, tx: Transaction, job: NewJob) -> bool:
        if job.dedup_key is not None or job.max_attempts is None:
            raise ValueError(f"{job.kind}: a job of the store's has max_attempts and no dedup key")
        if tx.execute(WAITING_ALREADY, (job.ordering_key, SEARCHED_OF_LANE, job.kind)).fetchone() is not None:
            return False
        self._inserter.insert(tx, [(job, job.max_attempts)])
        return True

    def ack(self, tx: Transaction, claim: Claim, *, forget: bool) -> bool:
        try:
            lanes.ack(tx, claim, self._clock.now(), forget)
        except LeaseLost:
            return False
        return True

    def kick(self, tx: Transaction, ordering_key: str) -> None:
        tx.execute(lanes.KICK, (self._clock.now(), ordering_key))


# A job that the lane's claim has charged may have looked for the last time.
WAITING_ALREADY = f"""
    SELECT 1 FROM
        (SELECT j.kind, {CHARGED} AS claimed FROM lanes AS l
         JOIN jobs AS j ON j.lane_id = l.id AND j.state = 'ready' WHERE l.lane = ? ORDER BY j.id DESC LIMIT ?)
    WHERE kind = ? AND NOT claimed
"""
