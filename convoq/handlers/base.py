"""What a handler is and what it is given."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from convoq.channels.base import Channel
from convoq.clock import since_boot
from convoq.errors import Unrecoverable
from convoq.queue.base import Claim, Job
from convoq.queue.service import QueueService, log_finished


class Leaving(enum.Enum):
    """Why a handler is cancelled, when it is not for its deadline."""

    STOPPED = "stopped"  #: the worker ends: the claim goes back as if it had never been taken
    LOST = "lost"  #: its lease is: another worker may have the claim


class ClaimContext:
    """A claim in the hands of a handler. With `forget` its jobs are deleted when they are done."""

    def __init__(self, claim: Claim, queue: QueueService, *, forget: bool = False) -> None:
        self.claim = claim
        #: Those that a failure counts against; the others then go back uncharged.
        self.running: tuple[Job, ...] = claim.jobs
        self.leaving: Leaving | None = None  #: set before the handler is cancelled
        self.stopping = False  #: the worker drains: a handler that does one thing after another begins no more
        self.is_acknowledged = False
        self.deadline_renewal: Callable[[], None] | None = None  #: the worker's, while the handler runs
        self._queue = queue
        self.forget = forget
        self.renewed_at = since_boot()  #: when the lease last began: ms since boot, as every process here counts

    def renew_deadline(self) -> None:
        """It begins anew, for a handler that does one thing after another: also before it counts as stuck."""
        if self.deadline_renewal is not None:
            self.deadline_renewal()

    def lease_left(self) -> float:
        """The share of the lease that is left: 1.0 right after the claim or a renewal, 0.0 when it is over."""
        return max(0.0, 1.0 - (since_boot() - self.renewed_at) / 1000 / self._queue.lease)

    def acknowledged(self) -> None:
        """The handler has acked the claim in a transaction of its own: nothing is left to record."""
        self.is_acknowledged = True

    async def finish(self) -> None:
        """The claim's jobs are done. Raises LeaseLost."""
        if self.is_acknowledged:
            log_finished(self.claim)
        else:
            await self._queue.ack(self.claim, forget=self.forget)

    async def advance(self, together: frozenset[str]) -> Claim | None:
        """The claim's jobs are done, and it goes on with those behind them. Raises LeaseLost."""
        return await self._queue.advance(self.claim, forget=self.forget, together=together)


Handler = Callable[[ClaimContext], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Handlers:
    """Which handler runs which kind of job, and how."""

    by_kind: Mapping[str, Handler]
    together: frozenset[str] = frozenset()  #: kinds whose handler takes all jobs of a claim; of others it holds one
    forgotten: frozenset[str] = frozenset()  #: kinds whose jobs say nothing once they are done: they are deleted

    def get(self, kind: str) -> Handler | None:
        return self.by_kind.get(kind)


def channel_of(channels: Mapping[str, Channel], name: str) -> Channel:
    """The channel that a job or a contact names. Raises Unrecoverable where this worker has none of that name."""
    try:
        return channels[name]
    except KeyError:
        known = ", ".join(sorted(channels))
        raise Unrecoverable(f'there is no channel "{name}" here, only {known}') from None


def each(run: Callable[[Job], Awaitable[None]]) -> Handler:
    """The handler of a kind whose jobs are run one at a time."""

    async def handler(context: ClaimContext) -> None:
        [job] = context.claim.jobs
        await run(job)

    return handler
