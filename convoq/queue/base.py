"""The queue's contract: what producers, workers and operators may ask of it, and what a claim is.

A *lane* is the line of jobs of one ordering key; a job without a key stands in a lane of its own. The lane is what is
claimed: one live claim per lane, so its jobs run one claim at a time and in order.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from convoq.db.transaction import Transaction
from convoq.jobs import NORMAL, PRIORITIES, NewJob


class Enqueued(NamedTuple):
    """What became of an enqueue: the job's id, and whether its dedup key was there before."""

    job_id: str
    duplicate: bool
    joined: bool = False  #: the job is one of the same waiting key, which waits


class Capability(enum.Flag):
    """What not every engine offers. Code that needs it asks for it; docs/engines.md has which engine offers what."""

    SHARED_COMMIT = enum.auto()  #: it shares the store's database: the store's transactions hold its work too (Joined)


class Enqueuer(Protocol):
    """All that a producer may do with the queue."""

    async def enqueue(self, job: NewJob) -> Enqueued:
        """When this returns, the job is on disk (fsynced) or was there already.

        Raises DatabaseUnavailable when it could not be written.
        """
        ...


class JobState(enum.StrEnum):
    """Where a job stands. A job whose lane is under a claim is still `ready`: its lease may run out."""

    READY = "ready"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"


class Job(NamedTuple):
    """A job under a claim."""

    id: str
    kind: str
    payload: str  #: a JSON object
    attempt: int  #: 1 on the first start
    max_attempts: int
    enqueued_at: int  #: ms, the queue's clock
    late: bool = False  #: the time in which it was to be begun is over: it must not run
    begun: bool = False  #: by an earlier claim


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run the job at a lane's front until the lease runs out.

    Of a kind that is run together it holds several, oldest first.
    """

    lane: str
    receipt: str  #: proves the lease; another claim of the lane makes it void
    jobs: tuple[Job, ...]
    priority: int = NORMAL  #: the class of the lane: that of its most urgent job
    crashes: int = 0  #: so many of its last claims, one after the other, ended with the death of their worker
    has_more: bool = False  #: other jobs stood behind these when it was claimed

    @property
    def kind(self) -> str:
        return self.jobs[0].kind

    def with_jobs(self, jobs: Sequence[Job]) -> Claim:
        return replace(self, jobs=tuple(jobs))


class Ending(enum.StrEnum):
    """How jobs end otherwise than by running, how an operator takes that back, and how one lets them run at once."""

    BURIED = "buried"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    DISCARDED = "discarded"
    RETRIED = "retried"
    RUN_NOW = "run now"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedJob:
    """A job that has ended otherwise than by running, is revived or due, with what its effects are found by."""

    id: str
    kind: str
    payload: str
    error: str | None = None


#: Settles what these jobs would have done, and returns the jobs that are due instead. Called in the transaction that
#: ends them and enqueues those, where the queue shares the store's database, and before it elsewhere.
Settle = Callable[[Transaction, Ending, Sequence[EndedJob]], Sequence[NewJob]]


def settle_nothing(*_: object) -> Sequence[NewJob]:
    """For queues whose jobs have no effects elsewhere."""
    return ()


class Standing(enum.StrEnum):
    """A job's state in an operator's words: what is ready may also run, or wait for its time."""

    READY = "ready"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"

    @property
    def state(self) -> JobState:
        return JobState.READY if self in (Standing.SCHEDULED, Standing.RUNNING) else JobState(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs: every given condition holds."""

    ids: tuple[str, ...] | None = None
    kinds: tuple[str, ...] | None = None
    states: tuple[JobState, ...] | None = None
    standings: tuple[Standing, ...] | None = None  #: narrower than `states`, and slower to find
    since: int | None = None  #: enqueued then or later: ms on the queue's clock
    ordering_key: str | None = None
    waiting_key: str | None = None  #: of those that have not ended
    text: str | None = None  #: somewhere in the payload or the error


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A job as operators see it. Times are ms on the queue's clock."""

    id: str
    ordering_key: str | None  #: None: the job has a lane of its own
    kind: str
    payload: str
    state: JobState
    attempt: int
    max_attempts: int
    priority: int
    enqueued_at: int
    claimed_at: int | None  #: the latest start
    finished_at: int | None
    due_at: int | None  #: when its lane is due; None once finished
    running: bool
    worker: str | None
    error: str | None
    dedup_key: str | None
    reason: str | None = None  #: why its lane waits
    scheduled: bool = False  #: its lane's time has not come, and nothing runs in it

    @property
    def standing(self) -> Standing:
        if self.state is not JobState.READY:
            return Standing(self.state)
        return Standing.RUNNING if self.running else Standing.SCHEDULED if self.scheduled else Standing.READY


@dataclass(frozen=True, slots=True, kw_only=True)
class KindStats:
    """One kind's share of the queue."""

    ready: int = 0  #: waiting to be claimed, due now
    scheduled: int = 0  #: waiting for their time: delay, backoff, quiet window
    running: int = 0
    dead: int = 0
    oldest_wait: float = 0.0  #: seconds that the oldest due job has waited
    unstarted: int = 0  #: ready or scheduled ones that no worker has ever begun
    unstarted_since: int | None = None  #: when the oldest of those was enqueued: ms on the queue's clock


@dataclass(frozen=True, slots=True)
class Stats:
    """The queue at one moment."""

    kinds: dict[str, KindStats] = field(default_factory=dict)


class Queue(Protocol):
    """What an engine keeps: at-least-once, one live claim per lane, order within it, receipts, delay, dedup.

    Leases and delays are seconds. Every verb that takes a claim raises LeaseLost, and changes nothing, when the
    receipt is no longer the lane's.
    """

    @property
    def capabilities(self) -> Capability: ...

    async def enqueue(self, jobs: Sequence[NewJob], *, max_attempts: int) -> list[Enqueued]:
        """All of `jobs` are durable when this returns, or none is. One result per job, in order.

        Two jobs with one dedup key, also within one call, are one job; the second is reported as its duplicate.
        A job with a waiting key joins one of that key that waits, if there is one, rather one that has not been begun:
        that takes the newer kind and payload and the later time to be begun by. One that has been begun already and
        waits to be tried again stays as it is.
        """
        ...

    async def claim(
        self,
        limit: int,
        *,
        lease: float,
        worker: str,
        reserve: int = 0,
        background: int | None = None,
        first: int | None = None,
        together: frozenset[str] = frozenset(),
    ) -> list[Claim]:
        """Up to `reserve` due lanes of INTAKE and, apart from those, up to `limit` of the other classes.

        Urgent lanes come first, then those that are due longest; each job in them is charged one attempt. At most
        `background` of the lanes are less urgent than people's (None: no bound), and one lane of the class `first`
        comes before all others.

        A claim holds one job: the next one is charged when it is started. Of a kind that is run `together` it holds
        those at the front that share it, but from the third attempt on a job is claimed alone, so that a poison message
        takes no neighbour with it.
        """
        ...

    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        """Renews each lease from now; returns the claims that were lost instead of raising.

        Blocks: it is called in a thread, and works also while the event loop is blocked.
        """
        ...

    def ack(self, claim: Claim, *, forget: bool = False) -> Awaitable[None]:
        """The claim's jobs are done, and it ends.

        To `forget` them is to delete their rows: for jobs that say nothing once they are done. It begins with the call,
        not with the wait for its end: acks take effect in the order of their calls.
        """
        ...

    async def advance(
        self, claim: Claim, *, forget: bool = False, together: frozenset[str] = frozenset()
    ) -> Claim | None:
        """All jobs of the claim are done, as with ack, and in the same step it takes those that stand behind them.

        Under the same receipt and lease, and charged as by claim. None when nothing is there that it may take, or the
        lane has become more urgent than the claim: then the lane is free.
        """
        ...

    async def nack(
        self,
        claim: Claim,
        *,
        delay: float,
        charged: Sequence[Job] = (),
        error: str | None = None,
        reason: str | None = None,
        aside: bool = False,
        unrun: bool = False,
    ) -> None:
        """Ends the claim; its unfinished jobs go back, the whole lane waits `delay`.

        It does not wait when it was to be due at once since it was claimed (a kick, a retry, a run-now). Only the
        `charged` jobs keep the attempt that the claim cost them, and `error` is theirs. `reason` tells an
        operator why the lane waits; it is gone with the next claim. Put `aside`, the claim's jobs wait alone: those
        behind them are due now, and after the delay they stand in their old place again. A claim that was left `unrun`
        has begun nothing, and says nothing of whether its jobs kill their worker.
        """
        ...

    async def bury(self, claim: Claim, jobs: Sequence[Job], *, error: str) -> None:
        """These jobs go to the dead letters with their error. With none of its jobs left, the claim ends."""
        ...

    async def skip(self, claim: Claim, jobs: Sequence[Job], *, reason: str) -> None:
        """These jobs end cancelled, unrun and uncharged, and `reason` says why. With none left, the claim ends."""
        ...

    async def register(self, worker: str) -> None:
        """Announces this process as a worker: it is woken, and its claims are recovered once it is gone.

        Before its first claim, with a name that no other process ever uses.
        """
        ...

    async def recover(self) -> int:
        """Makes the lanes due that dead workers had claimed; how many. Their jobs keep the attempt they cost.

        Each of the lanes is counted one crash, until a claim of it ends in another way: its jobs may be what kills.
        """
        ...

    async def wait(self, timeout: float, *, classes: Sequence[int] = PRIORITIES) -> None:
        """Returns when work of these classes may have become due, at the latest after `timeout` seconds.

        A hint, never a promise.
        """
        ...

    async def check(self) -> None:
        """Raises DatabaseUnavailable when no job could be enqueued just now for a reason that is not the store's."""
        ...

    async def next_due(self, *, classes: Sequence[int] = PRIORITIES) -> float | None:
        """Seconds until the next lane of these classes is due or its lease runs out (0: now); None without any."""
        ...

    async def close(self) -> None: ...


class JobAdmin(Protocol):
    """What operators see of jobs and do with them, apart from their running."""

    async def stats(self) -> Stats: ...

    async def list(self, where: JobFilter, *, limit: int = 50, before: str | None = None) -> list[JobRecord]:
        """Newest first; `before` is the last id of the page before."""
        ...

    async def count(self, where: JobFilter) -> int: ...

    async def get(self, job_id: str) -> JobRecord | None: ...

    async def busy(self, ordering_keys: Sequence[str]) -> set[str]:
        """Those of the keys of which jobs are ready or running."""
        ...

    async def retry_dead(self, where: JobFilter, *, limit: int = 500) -> int:
        """Dead and cancelled jobs become ready again, in their old place of the lane, with fresh attempts.

        Their lanes are due now, those under a claim as soon as it ends.
        """
        ...

    async def run_now(self, where: JobFilter, *, limit: int = 500) -> int:
        """The lanes of ready jobs that wait for their time (delay, backoff, snooze) become due at once; how many jobs.

        Those under a claim are due as soon as it ends, whatever wait it ends with. Order holds: the jobs ahead of them
        in their lanes come first, and their attempts stay as they are.
        """
        ...

    async def cancel(self, where: JobFilter, *, limit: int = 500) -> int:
        """Ready jobs that are not running become cancelled. A running one is left alone.

        What stood behind a cancelled job does not wait out what that one waited for.
        """
        ...

    async def discard(self, where: JobFilter, *, limit: int = 500) -> int:
        """Finished, dead and cancelled jobs are deleted."""
        ...

    async def erase(self, ids: Sequence[str]) -> int:
        """Deletes these jobs whatever they are doing, and settles nothing; how many. A claim that runs one is lost."""
        ...

    async def scrub(self) -> str | None:
        """What was deleted is gone from the engine's own files too; else why not, for people. None: all is gone."""
        ...

    async def prune(self, *, older_than: float, limit: int = 500) -> int:
        """Deletes one batch of done and cancelled jobs that ended more than `older_than` seconds ago.

        Dead letters are kept: only people discard them. Dedup keys have a retention of their own.
        """
        ...
