"""The worker: claims by demand, has the leases kept, records how each claim ended, drains on stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from time import monotonic

from structlog.contextvars import bind_contextvars

from convoq.clock import since_boot
from convoq.errors import ConvoqError, DatabaseUnavailable, LeaseLost
from convoq.handlers.base import ClaimContext, Handlers, Leaving
from convoq.handlers.deadlines import Deadlines
from convoq.handlers.run import Run
from convoq.handlers.tasks import JobCoroutine, first_to_end
from convoq.leases import KeeperTimings, LeaseKeeper
from convoq.logs import log
from convoq.queue.base import Claim
from convoq.queue.service import QueueService
from convoq.queue.shares import INTAKE_SLOTS, SlotShares
from convoq.queue.suspects import Suspicion

UNKNOWN_KIND_DELAY = 60.0  # an older worker in a rolling upgrade: a newer one will know the kind
MOST_PAUSES = 10  # that a suspect is deferred for at once: the one before it may end sooner


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTimings:
    """How often a worker looks after itself, and how long it waits for what; all in seconds."""

    maintenance: float = 0.5  #: between two looks at dead workers and stuck handlers
    unavailable: float = 1.0  #: before a database that failed is asked again
    beat: float = 0.25  #: between two looks at the leases and the loop from the thread beside it
    blocked: float = 1.0  #: a loop that does not answer for so long is reported
    recheck: float = 30.0  #: an idle worker waits at most so long before it looks again
    suspect: float = (
        1.0  #: of jobs that may kill their worker the first is deferred so long while another has just begun
    )
    suspect_hold: float = 5.0  #: that is how long one has just begun, after two crashes of its lane
    cancel_grace: float = 10.0  #: a handler may take so long to end after it was cancelled
    stop_grace: float = 5.0  #: the same at a stop: with the closing it is within what systemd allows after the drain
    lane_share: float = 0.1  #: a lane keeps its slot so long: its jobs follow one another without a claim of their own
    drain_horizon: float = 30.0  #: `--drain` waits for what is due this soon; less than pauses that only time can end


class WorkerStuck(ConvoqError):
    """A handler went on long after it was cancelled: this process must be replaced."""


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
        self._deadlines = Deadlines(deadline)
        self._drain_timeout = drain_timeout
        self._shares = SlotShares(concurrency, intake_slots)
        self._timings = timings or WorkerTimings()
        self._suspicion = Suspicion(self._timings.suspect_hold, longest=deadline)
        self._on_stuck = on_stuck
        self._patient_until = 0.0  # until then no handler is stuck: the loop was blocked, and it could not be cancelled
        self._runs: set[Run] = set()
        self._context = copy_context()
        self._changed = asyncio.Event()  # a slot is free, there may be work, or it is time to stop
        self._listening: asyncio.Task[object] | None = None
        self._heard: frozenset[int] = frozenset()  # the classes that it waits for
        self._empty: frozenset[int] = frozenset()  # those of which the last claim left nothing due
        self._released: set[int] = set()  # those of runs that have ended since: their lanes may go on
        self._draining = False
        self._failure: BaseException | None = None

    @property
    def busy(self) -> int:
        """Slots in use. One is free as soon as its handler has ended: the next claim shares the commit of its ack.

        Where its lane may go on, it is free once nothing has followed.
        """
        return sum(run.keeps_slot for run in self._runs)

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
        room = self._shares.room([run.claim.priority for run in self._runs if run.keeps_slot])
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
            if self._start(claim, claimed_at=now, in_slot_since=monotonic()):
                started.append(claim.priority)
            else:
                refused.append(claim)
        if refused:
            await asyncio.gather(*[self._give_back(claim, behind) for behind, claim in enumerate(refused)])
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

    def _start(self, claim: Claim, *, claimed_at: int, in_slot_since: float) -> bool:
        """Whether it may be run now, and is."""
        if self._handlers.get(claim.kind) is None:
            return False
        running = ((run.claim, monotonic() - run.begun) for run in self._runs if not run.handled)
        if self._suspicion.holds_back(claim, running):
            return False
        context = ClaimContext(claim, self._queue, forget=claim.kind in self._handlers.forgotten)
        context.renewed_at = claimed_at
        run = Run(context, in_slot_since)
        self._runs.add(run)
        # In the worker's context: what the job before it in its lane has set in its own is not this one's.
        run.task = asyncio.create_task(JobCoroutine(self._handle(run), run.scope), context=self._context.copy())
        run.task.add_done_callback(lambda task: self._ended(run, task))
        return True

    async def _give_back(self, claim: Claim, behind: int) -> None:
        """`behind` so many others: they begin one by one, and need not all come back to be refused again."""
        try:
            if self._handlers.get(claim.kind) is None:
                first = claim.jobs[0]
                log.warning("job.unknown_kind", kind=claim.kind, attempt=first.attempt, job_id=first.id)
                await self._queue.put_aside(claim, UNKNOWN_KIND_DELAY, reason="no handler for this kind here")
            else:
                await self._queue.defer(claim, self._timings.suspect * min(behind + 1, MOST_PAUSES))
        except (LeaseLost, DatabaseUnavailable) as error:
            log.warning("claim.not_put_off", error=str(error))

    def _ended(self, run: Run, task: asyncio.Task[None]) -> None:
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

    async def _handle(self, run: Run) -> None:
        context = run.context
        first = context.claim.jobs[0]
        bind_contextvars(job_id=first.id, kind=first.kind, attempt=first.attempt)  # in this task alone
        error = await run.outcome(self._handlers.by_kind[run.claim.kind], self._deadlines)
        run.handled = True
        self._suspicion.survived(run.claim)
        try:
            await self._conclude(run, error)
        except LeaseLost:
            log.warning("job.lease_lost")
        finally:
            self._free_slot(run)

    async def _conclude(self, run: Run, error: Exception | asyncio.CancelledError | None) -> None:
        """Goes on with the lane, or records what came of the run. To be claimed again instead would cost it a try."""
        try:
            if error is None and self._may_go_on(run):
                await self._go_on(run)
            else:
                self._free_slot(run)
                await self._record(run.context, error)
            return
        except DatabaseUnavailable as unavailable:
            log.warning("job.outcome_waits", error=str(unavailable))
        self._free_slot(run)
        while not run.context.stopping:
            await asyncio.sleep(self._timings.unavailable)
            with suppress(DatabaseUnavailable):
                await self._record(run.context, error)
                return
        log.error("job.outcome_unrecorded", error="the worker stops; it is claimed again when its lease is over")

    def _may_go_on(self, run: Run) -> bool:
        """Whether the next job of its lane gets its slot: for a while, so that other lanes have their turn."""
        context = run.context
        return (
            context.claim.has_more
            and context.claim.crashes == 0
            and not (context.is_acknowledged or context.stopping)
            and monotonic() - run.in_slot_since < self._timings.lane_share
        )

    async def _go_on(self, run: Run) -> None:
        """Records that the claim is done and starts what follows it, in one transaction."""
        following = await run.context.advance(self._handlers.together)
        if following is None:
            return
        if run.context.stopping:
            await self._queue.release(following, unrun=True)
        elif self._start(following, claimed_at=run.context.renewed_at, in_slot_since=run.in_slot_since):
            run.keeps_slot = False  # it is the following one's
        else:
            await self._give_back(following, 0)

    def _free_slot(self, run: Run) -> None:
        if run.keeps_slot:
            run.keeps_slot = False
            self._released.add(run.claim.priority)
            self._changed.set()

    async def _record(self, context: ClaimContext, error: Exception | asyncio.CancelledError | None) -> None:
        if error is None or context.is_acknowledged:
            if error is not None:
                log.error("job.failed_after_ack", error=f"{type(error).__name__}: {error}")
            await context.finish()
        elif isinstance(error, asyncio.CancelledError):
            await self._queue.release(context.claim)
        else:
            await self._queue.fail(context.claim, error, context.running)

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
            longest_run=self._deadlines.seconds + self._timings.cancel_grace,
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
        limit = now - self._deadlines.seconds - self._timings.cancel_grace
        for run in self._runs:
            # One whose handler has ended waits for the database, which is no reason to replace the process.
            if not run.handled and run.started < limit and now >= self._patient_until:
                self._give_up(run)

    def _give_up(self, run: Run) -> None:
        first = run.claim.jobs[0]
        if run.handled:
            error = "the worker has stopped, and the database has not taken it yet"
            log.error("job.outcome_unrecorded", kind=first.kind, job_id=first.id, error=error)
        elif self._failure is None:
            log.error("handler.stuck", kind=first.kind, job_id=first.id)
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
            await first_to_end(asyncio.wait(self._tasks(), timeout=self._drain_timeout), *sooner)
        for run in self._runs:
            run.leave(Leaving.STOPPED)
        if self._runs:
            await asyncio.wait(self._tasks(), timeout=self._timings.stop_grace)
        for run in self._runs:
            self._give_up(run)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [run.task for run in self._runs if run.task is not None]


async def _cancel(tasks: Iterable[asyncio.Task[object] | None]) -> None:
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
