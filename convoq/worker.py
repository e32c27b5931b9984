"""The worker: claims by demand, has the leases kept, records how each claim ended, drains on stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

from structlog.contextvars import bind_contextvars

from convoq.clock import since_boot
from convoq.errors import ConvoqError, DatabaseUnavailable, LeaseLost
from convoq.handlers.base import ClaimContext, Handler, Handlers, Leaving
from convoq.handlers.tasks import JobCoroutine, JobScope
from convoq.leases import KeeperTimings, LeaseKeeper
from convoq.logs import log
from convoq.queue.base import Claim
from convoq.queue.service import QueueService
from convoq.queue.shares import INTAKE_SLOTS, SlotShares
from convoq.queue.suspects import Suspicion

UNKNOWN_KIND_DELAY = 60.0  # an older worker in a rolling upgrade: a newer one will know the kind


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTimings:
    """How often a worker looks after itself, and how long it waits for what; all in seconds."""

    maintenance: float = 0.5  #: between two looks at dead workers and stuck handlers
    unavailable: float = 1.0  #: before a database that failed is asked again
    beat: float = 0.25  #: between two looks at the leases and the loop from the thread beside it
    blocked: float = 1.0  #: a loop that does not answer for so long is reported
    recheck: float = 30.0  #: an idle worker waits at most so long before it looks again
    suspect: float = 1.0  #: a job that may kill its worker is deferred so long while another one has just begun
    suspect_hold: float = 5.0  #: that is how long one has just begun, after two crashes of its lane
    cancel_grace: float = 10.0  #: a handler may take so long to end after it was cancelled
    stop_grace: float = 5.0  #: the same at a stop: with the closing it is within what systemd allows after the drain
    drain_horizon: float = 30.0  #: `--drain` waits for what is due this soon; less than pauses that only time can end


class WorkerStuck(ConvoqError):
    """A handler went on long after it was cancelled: this process must be replaced."""


@dataclass(eq=False, slots=True)
class _Run:
    """One claim being handled."""

    context: ClaimContext
    started: float  #: or its deadline was renewed
    begun: float = field(init=False)
    task: asyncio.Task[None] | None = None
    handled: bool = False  #: the handler has ended; what came of it is being recorded
    scope: JobScope = field(init=False)

    @property
    def claim(self) -> Claim:
        return self.context.claim

    def leave(self, why: Leaving) -> None:
        if not self.handled and self.task is not None:  # what a handler has done is recorded in any case
            self.context.leaving = self.context.leaving or why
            self.task.cancel()

    def __post_init__(self) -> None:
        self.begun = self.started
        self.scope = JobScope(self.context.claim.kind, self.context.claim.jobs[0].id)


class Worker:
    """Runs at most `concurrency` claims at a time, and besides them `intake_slots` of INTAKE.

    A claim's lease is renewed by a thread for as long as its handler runs, also if that blocks the loop. `deadline`
    bounds one run of a handler, `drain_timeout` what running handlers may take after a stop; both in seconds.
    `on_stuck` is called in that thread when a handler blocks the loop far beyond its deadline, and ends the process.
    """

    def __init__(
        self,
        queue: QueueService,
        handlers: Handlers,
        *,
        name: str,
        concurrency: int,
        deadline: float,
        drain_timeout: float,
        intake_slots: int = INTAKE_SLOTS,
        timings: WorkerTimings | None = None,
        on_stuck: Callable[[], object] = lambda: None,
    ) -> None:
        self._queue = queue
        self._handlers = handlers
        self._name = name
        self._concurrency = concurrency
        self._deadline = deadline
        self._drain_timeout = drain_timeout
        self._shares = SlotShares(concurrency, intake_slots)
        self._timings = timings or WorkerTimings()
        self._suspicion = Suspicion(self._timings.suspect_hold, longest=deadline)
        self._on_stuck = on_stuck
        self._patient_until = 0.0  # until then no handler is stuck: the loop was blocked, and it could not be cancelled
        self._runs: set[_Run] = set()
        self._changed = asyncio.Event()  # a slot is free, there may be work, or it is time to stop
        self._listening: asyncio.Task[object] | None = None
        self._heard: frozenset[int] = frozenset()  # the classes that it waits for
        self._empty: frozenset[int] = frozenset()  # those of which the last claim left nothing due
        self._released: set[int] = set()  # those of runs that have ended since: their lanes may go on
        self._draining = False
        self._failure: BaseException | None = None

    @property
    def busy(self) -> int:
        """Slots in use. One is free as soon as its handler has ended: the next claim shares the commit of its ack."""
        return sum(not run.handled for run in self._runs)

    async def run(self, stopping: asyncio.Event, *, at_once: asyncio.Event | None = None, drain: bool = False) -> None:
        """Works until `stopping` is set; then running handlers may finish, unless `at_once` is set.

        With `drain` it also ends when nothing is due any more. Raises WorkerStuck.
        """
        self._draining = drain
        await self._queue.register(self._name)
        keeper = self._keep_leases()
        spawned = [self._spawn(self._maintain(stopping)), self._spawn(stopping.wait())]
        try:
            while not stopping.is_set() and self._failure is None:
                self._changed.clear()
                claimed = await self._fill()
                if drain and not claimed and not self._runs and await self._is_drained():
                    break
                await self._changed.wait()
        finally:
            await self._finish(at_once)
            await _cancel([*spawned, self._listening])
            await keeper.stop()
        if self._failure is not None:
            raise self._failure

    def _spawn(self, coroutine: Coroutine[object, object, object]) -> asyncio.Task[object]:
        """A task beside the loop: its end wakes the loop, its failure ends the worker."""
        task = asyncio.create_task(coroutine)
        task.add_done_callback(self._spawned_ended)
        return task

    def _spawned_ended(self, task: asyncio.Task[object]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)
        self._changed.set()

    # --- Claiming

    async def _fill(self) -> int:
        """Claims as much as there are free slots, and listens for more while some stay free; how much that was."""
        room = self._shares.room([run.claim.priority for run in self._runs if not run.handled])
        if room.classes <= self._empty - self._released:
            return 0
        self._released.clear()
        now = since_boot()
        try:
            claims = await self._queue.claim(
                room.limit, worker=self._name, reserve=room.reserve, background=room.background,
                first=self._shares.first() if room.limit else None, together=self._handlers.together,
            )  # fmt: skip
        except DatabaseUnavailable as error:
            log.warning("claim.failed", error=str(error))
            await asyncio.sleep(self._timings.unavailable)
            self._changed.set()
            return 0
        started: list[int] = []
        refused: list[Claim] = []
        for claim in claims:
            if self._start(claim, now):
                started.append(claim.priority)
            else:
                refused.append(claim)
        if refused:
            await asyncio.gather(*[self._give_back(claim) for claim in refused])
        self._empty = room.left(started)
        self._listen_for(self._empty)
        return len(claims)

    def _listen_for(self, classes: frozenset[int]) -> None:
        """One wait serves any number of claims that come before, as long as it waits for all of these classes."""
        if self._listening is not None and not self._listening.done():
            if classes <= self._heard:
                return
            self._listening.cancel()
        if classes:
            self._heard = classes
            self._listening = self._spawn(self._listen(sorted(classes)))

    def _start(self, claim: Claim, claimed_at: int) -> bool:
        """Whether it may be run now, and is."""
        if self._handlers.get(claim.kind) is None:
            return False
        running = ((run.claim, monotonic() - run.begun) for run in self._runs if not run.handled)
        if self._suspicion.holds_back(claim, running):
            return False
        run = _Run(ClaimContext(claim, self._queue, forget=claim.kind in self._handlers.forgotten), monotonic())
        run.context.renewed(claimed_at)
        self._runs.add(run)
        run.task = asyncio.create_task(JobCoroutine(self._handle(run), run.scope))
        run.task.add_done_callback(lambda task: self._ended(run, task))
        return True

    async def _give_back(self, claim: Claim) -> None:
        try:
            if self._handlers.get(claim.kind) is None:
                first = claim.jobs[0]
                log.warning("job.unknown_kind", kind=claim.kind, attempt=first.attempt, job_id=first.id)
                await self._queue.put_aside(claim, UNKNOWN_KIND_DELAY, reason="no handler for this kind here")
            else:
                await self._queue.defer(claim, self._timings.suspect)
        except (LeaseLost, DatabaseUnavailable) as error:
            log.warning("claim.not_put_off", error=str(error))

    def _ended(self, run: _Run, task: asyncio.Task[None]) -> None:
        self._runs.discard(run)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
        if self._failure is not None or self._draining or not run.handled:
            self._changed.set()

    async def _listen(self, classes: Sequence[int]) -> None:
        """Ends when there may be work of these classes."""
        try:
            await self._queue.wait(self._timings.recheck, classes=classes)
        except DatabaseUnavailable as error:
            log.warning("wait.failed", error=str(error))
            await asyncio.sleep(self._timings.unavailable)
        self._empty = frozenset()

    async def _is_drained(self) -> bool:
        try:
            next_due = await self._queue.next_due()
        except DatabaseUnavailable:
            return False
        return next_due is None or next_due > self._timings.drain_horizon

    # --- Handling

    async def _handle(self, run: _Run) -> None:
        context = run.context
        first = context.claim.jobs[0]
        bind_contextvars(job_id=first.id, kind=first.kind, attempt=first.attempt)  # in this task alone
        error = await self._outcome(run)
        run.handled = True
        self._released.add(run.claim.priority)
        self._changed.set()
        try:
            if error is None or context.is_acknowledged:
                if error is not None:
                    log.error("job.failed_after_ack", error=f"{type(error).__name__}: {error}")
                await context.finish()
            elif isinstance(error, asyncio.CancelledError):
                await self._queue.release(context.claim)
            else:
                await self._queue.fail(context.claim, error, context.running)
        except LeaseLost:
            log.warning("job.lease_lost")
        except DatabaseUnavailable as unavailable:
            # Its lease runs out, or this process ends: either way the job is claimed again.
            log.error("job.outcome_unrecorded", error=str(unavailable))

    async def _outcome(self, run: _Run) -> Exception | asyncio.CancelledError | None:
        """None, or what the handler raised."""
        context, scope = run.context, run.scope
        handler = self._handlers.by_kind[context.claim.kind]
        with scope:
            try:
                async with asyncio.timeout(self._deadline) as deadline:
                    context.deadline_renewal = partial(self._renew_deadline, run, deadline)
                    await JobCoroutine(_run_handler(handler, context), scope)
            except asyncio.CancelledError as error:
                if _is_cancelled():
                    return error
                # Not our cancellation: it comes from a task of the handler's own; a retry at once would never end.
                failure = RuntimeError("the handler awaited something that was cancelled")
                failure.__cause__ = error
                return scope.failure or failure
            except Exception as error:  # noqa: BLE001 # what came out of the handler decides what becomes of the job
                return scope.failure or error
            finally:
                context.deadline_renewal = None
            return scope.failure

    def _renew_deadline(self, run: _Run, deadline: asyncio.Timeout) -> None:
        if not deadline.expired():
            deadline.reschedule(asyncio.get_running_loop().time() + self._deadline)
            run.started = monotonic()

    # --- Maintenance

    async def _maintain(self, stopping: asyncio.Event) -> None:
        """Takes over from dead workers, and notices handlers that cannot be stopped."""
        while True:
            slept_at = monotonic()
            await asyncio.sleep(self._timings.maintenance)
            if monotonic() - slept_at > self._timings.maintenance + self._timings.blocked:
                self._patient_until = monotonic() + self._timings.cancel_grace
            try:
                if not stopping.is_set() and await self._queue.recover():
                    log.warning("worker.recovered")
                    self._empty = frozenset()
                    self._changed.set()
            except (DatabaseUnavailable, OSError) as error:
                log.warning("care.failed", error=str(error))
            self._notice_stuck()

    def _keep_leases(self) -> LeaseKeeper:
        timings = KeeperTimings(
            beat=self._timings.beat,
            retry=self._timings.maintenance,
            blocked=self._timings.blocked,
            longest_run=self._deadline + self._timings.cancel_grace,
        )
        return LeaseKeeper(
            self._queue,
            timings,
            held=lambda: list(self._runs),  # one call in C: the loop can't change the set meanwhile
            lost=self._cancel_lost,
            failed=self._fail,
            stuck=self._on_stuck,
        )

    def _cancel_lost(self, claims: Sequence[Claim]) -> None:
        receipts = {claim.receipt for claim in claims}
        for run in self._runs:  # one that has ended is no loss
            if run.claim.receipt in receipts:
                run.leave(Leaving.LOST)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._changed.set()

    def _notice_stuck(self) -> None:
        now = monotonic()
        limit = now - self._deadline - self._timings.cancel_grace
        for run in self._runs:
            if run.started < limit and now >= self._patient_until:
                self._give_up(run)

    def _give_up(self, run: _Run) -> None:
        if self._failure is None:
            log.error("handler.stuck", kind=run.context.claim.kind, job_id=run.context.claim.jobs[0].id)
            self._failure = WorkerStuck()
            self._changed.set()

    # --- Stopping

    async def _finish(self, at_once: asyncio.Event | None) -> None:
        """Lets running handlers end; those that don't in time are cut off and handed back."""
        if self._runs:
            log.info("worker.draining", running=len(self._runs))
            for run in self._runs:
                run.context.stopping = True
            sooner = () if at_once is None else (at_once.wait(),)
            await _first(asyncio.wait(self._tasks(), timeout=self._drain_timeout), *sooner)
        for run in self._runs:
            run.leave(Leaving.STOPPED)
        if self._runs:
            await asyncio.wait(self._tasks(), timeout=self._timings.stop_grace)
        for run in self._runs:
            self._give_up(run)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [run.task for run in self._runs if run.task is not None]


async def _run_handler(handler: Handler, context: ClaimContext) -> None:
    """Also what a handler raises before it returns its awaitable comes out of this coroutine."""
    await handler(context)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _cancel(tasks: Iterable[asyncio.Task[object] | None]) -> None:
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def _first(*awaitables: object) -> None:
    """Returns when the first of them has ended, or raises what it raised; the others are cancelled."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]  # type: ignore[call-overload]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        task.result()
