"""What follows in the queue from a transaction of the store: part of it in one database, right after it elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from convoq.db.transaction import Transaction
from convoq.jobs import NewJob
from convoq.queue.base import Claim


class Joined(Protocol):
    """What an engine can do inside a transaction of the store's, where both share one database.

    All of it becomes visible and durable with that transaction, or not at all.
    """

    def enqueue(self, tx: Transaction, job: NewJob) -> bool:
        """Adds the job, unless one of its kind that is not under a claim stands ready among the last of its lane.

        Whether it was added. The one that stands there will see whatever this transaction has written. Raises
        ValueError for a job with a dedup key, or without max_attempts.
        """
        ...

    def ack(self, tx: Transaction, claim: Claim, *, forget: bool) -> bool:
        """As Queue.ack; False, and nothing changed, when the claim is not ours any more."""
        ...

    def kick(self, tx: Transaction, ordering_key: str) -> None:
        """The lane is due now: a hint that what it waits for has come.

        Under a claim that is remembered: however the claim ends, the lane is due then.
        """
        ...

    def wake(self) -> None:
        """To be called in the event loop after the commit: workers look for what it has made due."""
        ...


class FollowUps(Protocol):
    """Begun for one transaction of the store's, and sent after its commit.

    A unit that is run again adds anew: in a lane its last job of a kind stands for those of the runs that were undone,
    whose ids may be those of nothing.

    Who is killed between the two leaves a store that is ahead of its queue. So the job that led to it ends last, and
    does the same again; and a repair looks for threads that wait without a job.
    """

    @property
    def is_shared(self) -> bool:
        """They are the transaction's own: nothing is left to send but a hint."""
        ...

    def enqueue(self, tx: Transaction, job: NewJob) -> bool:
        """As Joined.enqueue. Whether it was added, as far as that is known by now."""
        ...

    def kick(self, tx: Transaction, ordering_key: str) -> None:
        """As Joined.kick."""
        ...

    def ack(self, tx: Transaction, claim: Claim, *, forget: bool) -> bool:
        """Whether the claim has ended with the transaction. Where it cannot, it is to be acked when all is sent."""
        ...

    async def send(self) -> int:
        """After the commit: what has followed is durable, and workers look for it; how many jobs were added.

        Raises DatabaseUnavailable.
        """
        ...


BeginFollowUps = Callable[[], FollowUps]


class SharedFollowUps:
    """With a queue that shares the store's database."""

    is_shared = True

    def __init__(self, queue: Joined) -> None:
        self._queue = queue
        self._added: dict[NewJob, bool] = {}

    def enqueue(self, tx: Transaction, job: NewJob) -> bool:
        added = self._queue.enqueue(tx, job)
        # By job, not as a number: a unit that fails beside others is run again.
        self._added[job] = added
        return added

    def kick(self, tx: Transaction, ordering_key: str) -> None:
        self._queue.kick(tx, ordering_key)

    def ack(self, tx: Transaction, claim: Claim, *, forget: bool) -> bool:
        return self._queue.ack(tx, claim, forget=forget)

    async def send(self) -> int:
        self._queue.wake()
        return sum(self._added.values())


class Follower(Protocol):
    """A queue with a database of its own."""

    async def follow(self, jobs: Sequence[NewJob], due: Sequence[str]) -> list[bool]:
        """Adds each job unless one of its kind that is not under a claim stands ready among the last of its lane.

        And makes the `due` lanes due now, those under a claim when it ends. Which jobs were added; all of it is
        durable when this returns. Raises DatabaseUnavailable.
        """
        ...


class LaterFollowUps:
    """With a queue elsewhere: they are noted, and sent once the store has committed."""

    is_shared = False

    def __init__(self, queue: Follower) -> None:
        self._queue = queue
        # In the order of their making, the last one of a place: a unit that fails beside others is run again.
        self._jobs: dict[NewJob | tuple[str, str], NewJob] = {}
        self._due: dict[str, None] = {}

    def enqueue(self, tx: Transaction, job: NewJob) -> bool:  # noqa: ARG002
        if job.dedup_key is not None or job.max_attempts is None:
            raise ValueError(f"{job.kind}: a job of the store's has max_attempts and no dedup key")
        self._jobs[_place(job)] = job
        return True

    def kick(self, tx: Transaction, ordering_key: str) -> None:  # noqa: ARG002
        self._due[ordering_key] = None

    def ack(self, tx: Transaction, claim: Claim, *, forget: bool) -> bool:  # noqa: ARG002
        return False

    async def send(self) -> int:
        if not self._jobs and not self._due:
            return 0
        return sum(await self._queue.follow(list(self._jobs.values()), list(self._due)))


def _place(job: NewJob) -> NewJob | tuple[str, str]:
    """Where one job at most is added: of its kind in its lane, and without a lane of itself."""
    return job if job.ordering_key is None else (job.kind, job.ordering_key)
