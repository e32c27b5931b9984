"""What a handler is and what it is given."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import monotonic

from convoq.channels.base import Channel
from convoq.errors import Unrecoverable
from convoq.handlers.tasks import task_failure
from convoq.queue.base import Claim, Fence, Job
from convoq.queue.service import QueueService

LONGEST_TURN = 0.001  # seconds of a handler after which the event loop has its turn


class ClaimContext:
    """A claim in the hands of a handler."""

    def __init__(self, claim: Claim, queue: QueueService) -> None:
        self.claim = claim  #: its jobs are those not yet done
        self.running: tuple[Job, ...] = claim.jobs  #: those that a failure now counts against
        self._acking: list[asyncio.Future[None]] = []
        self._queue = queue

    @property
    def fence(self) -> Fence:
        """To be checked inside every transaction that this work writes."""
        return self._queue.fence(self.claim)

    async def absorb(self) -> tuple[Job, ...]:
        """Takes the jobs that have newly come behind this claim into it, and returns them. Raises LeaseLost."""
        known = len(self.claim.jobs)
        self.claim = await self._queue.absorb(self.claim)
        self.running = self.claim.jobs
        return self.claim.jobs[known:]

    async def done(self, job: Job) -> None:
        """This job is finished for good, whatever becomes of the others. Raises LeaseLost."""
        self.done_soon(job)
        await self.acked()

    def done_soon(self, job: Job) -> None:
        """As done(), but the next job need not wait for the commit: a crash until then runs this one again.

        Raises what has become known of the jobs before.
        """
        for acking in self._acking:
            if acking.done():
                acking.result()
        if len(self.claim.jobs) > 1:
            self._acking.append(self._queue.ack(self.claim, [job]))
            self.claim = self.claim.with_jobs([other for other in self.claim.jobs if other.id != job.id])

    async def acked(self) -> None:
        """Returns when every job that is done is on record. Raises LeaseLost."""
        if self._acking:
            # asyncio.wait, not gather: cancelling the waiter must not cancel the acks.
            await asyncio.wait(self._acking)
        acking, self._acking = self._acking, []
        for one in acking:
            one.result()

    async def finish(self) -> None:
        """All that is left of the claim is done. Raises LeaseLost."""
        self._acking.append(self._queue.ack(self.claim))
        await self.acked()


Handler = Callable[[ClaimContext], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Handlers:
    """Which handler runs which kind of job."""

    by_kind: Mapping[str, Handler]

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
    """A handler that takes a claim's jobs one by one, in order; none is started before the one ahead has ended well."""

    async def handler(context: ClaimContext) -> None:
        for job in context.claim.jobs:
            context.running = (job,)
            started = monotonic()
            await run(job)
            if (failure := task_failure()) is not None:
                raise failure
            context.done_soon(job)
            if monotonic() - started > LONGEST_TURN:
                await asyncio.sleep(0)  # one that never awaits would keep its ack and the lease from being written

    return handler
