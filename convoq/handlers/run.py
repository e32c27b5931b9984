"""One claim in a worker: its handler runs under a deadline, and whatever ends it is an outcome."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

from convoq.handlers.base import ClaimContext, Handler, Leaving
from convoq.handlers.deadlines import Deadline, Deadlines
from convoq.handlers.tasks import JobCoroutine, JobScope
from convoq.queue.base import Claim


@dataclass(eq=False, slots=True)
class Run:
    """A claim being handled, in one of the worker's slots. Times are seconds on the monotonic clock."""

    context: ClaimContext
    in_slot_since: float  #: its lane, of which this may not be the first claim
    begun: float = field(default_factory=monotonic)
    started: float = field(init=False)  #: begun, or its deadline was renewed
    task: asyncio.Task[None] | None = None
    handled: bool = False  #: the handler has ended; what came of it is being recorded
    keeps_slot: bool = True
    scope: JobScope = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.begun
        self.scope = JobScope(self.claim.kind, self.claim.jobs[0].id)

    @property
    def claim(self) -> Claim:
        return self.context.claim

    def leave(self, why: Leaving) -> None:
        if not self.handled and self.task is not None:  # what a handler has done is recorded in any case
            self.context.leaving = self.context.leaving or why
            self.task.cancel()

    async def outcome(self, handler: Handler, deadlines: Deadlines) -> Exception | asyncio.CancelledError | None:
        """None, or what the handler raised, be it for its deadline. To be awaited in the run's own task."""
        with self.scope:
            try:
                with Deadline(deadlines) as deadline:
                    self.context.deadline_renewal = partial(self._renew, deadline)
                    await JobCoroutine(_run_handler(handler, self.context), self.scope)
            except asyncio.CancelledError as error:
                if _is_cancelled():
                    return error
                # Not our cancellation: it comes from a task of the handler's own; a retry at once would never end.
                failure = RuntimeError("the handler awaited something that was cancelled")
                failure.__cause__ = error
                return self.scope.failure or failure
            except Exception as error:  # noqa: BLE001 # what came out of the handler decides what becomes of the job
                return self.scope.failure or error
            finally:
                self.context.deadline_renewal = None
            return self.scope.failure

    def _renew(self, deadline: Deadline) -> None:
        if deadline.renew():
            self.started = monotonic()


async def _run_handler(handler: Handler, context: ClaimContext) -> None:
    """Also what a handler raises before it returns its awaitable comes out of this coroutine."""
    await handler(context)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
