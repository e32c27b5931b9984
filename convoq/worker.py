"""The worker: claims by demand, keeps the leases, records how each claim ended, drains on stop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic

import structlog
from structlog.contextvars import bound_contextvars

from convoq.errors import ConvoqError, DatabaseUnavailable, LeaseLost, Snooze
from convoq.handlers.base import Handlers, Work
from convoq.queue.base import Claim
from convoq.queue.service import QueueService

log = structlog.get_logger()

UNKNOWN_KIND_DELAY = 60.0  # an older worker in a rolling upgrade: a newer one will know the kind
CARE_INTERVAL = 0.5  # seconds between two looks for dead workers and stuck handlers
STUBBORN_GRACE = 10.0  # seconds a handler may take to end after it was cancelled
LAST_GRACE = 5.0  # the same at a stop: with the closing it is within what systemd allows after the drain
SUSPECT_CRASHES = 2  # starts whose worker died, from which on a job may be what kills it
SUSPECT_PAUSE = 1.0
UNAVAILABLE_PAUSE = 1.0  # seconds before a database that failed is asked again
RECHECK = 30.0  # seconds an idle worker waits at most before it looks again
DRAIN_HORIZON = 30.0  # `--drain` also waits for what is due this soon; less than any pause that only time can end


class WorkerStuck(ConvoqError):
    """A handler went on long after it was cancelled: this process must be replaced."""


@dataclass(eq=False, slots=True)
class _Run:
    """One claim being handled."""

    work: Work
    started: float
    task: asyncio.Task[None]


class Worker:
    """Runs at most `concurrency` claims at a time.

    A claim's lease is renewed from outside its handler for as long as the handler runs. `deadline` bounds one run of a
    handler, `drain_timeout` what running handlers may take after a stop; both in seconds.
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
    ) -> None:
        self._queue = queue
        self._handlers = handlers
        self._name = name
        self._concurrency = concurrency
        self._deadline = deadline
        self._drain_timeout = drain_timeout
        self._runs: set[_Run] = set()
        self._changed = asyncio.Event()  # a slot is free, or there may be work
        self._failure: BaseException | None = None

    @property
    def busy(self) -> int:
        """Slots in use."""
        return len(self._runs)

    async def run(self, stopping: asyncio.Event, *, at_once: asyncio.Event | None = None, drain: bool = False) -> None:
        """Works until `stopping` is set; then running handlers may finish, unless `at_once` is set.

        With `drain` it also ends when nothing is due any more. Raises WorkerStuck.
        """
        await self._queue.backend.register(self._name)
        care = asyncio.create_task(self._take_care(stopping))
        care.add_done_callback(self._care_ended)
        try:
            while not stopping.is_set() and self._failure is None:
                claimed = await self._fill()
                if drain and not claimed and not self._runs and await self._is_drained():
                    break
                await self._pause(stopping)
        finally:
            await self._finish(at_once)
            care.cancel()
            await asyncio.gather(care, return_exceptions=True)
        if self._failure is not None:
            raise self._failure

    # --- Claiming

    async def _fill(self) -> int:
        """Claims as much as there are free slots; how much that was."""
        free = self._concurrency - len(self._runs)
        if free <= 0:
            return 0
        try:
            claims = await self._queue.claim(free, worker=self._name)
        except DatabaseUnavailable as error:
            log.warning("claim.failed", error=str(error))
            await asyncio.sleep(UNAVAILABLE_PAUSE)
            return 0
        for claim in claims:
            if _is_suspect(claim) and any(_is_suspect(run.work.claim) for run in self._runs):
                await self._put_off(claim)
            else:
                self._start(claim)
        return len(claims)

    async def _put_off(self, claim: Claim) -> None:
        """One suspect at a time: else the one that kills its worker takes the others down with it, again and again."""
        try:
            await self._queue.put_off(claim, SUSPECT_PAUSE)
        except (LeaseLost, DatabaseUnavailable) as error:
            log.warning("claim.not_put_off", error=str(error))

    def _start(self, claim: Claim) -> None:
        work = Work(claim, self._queue)
        run = _Run(work, monotonic(), asyncio.create_task(self._handle(work)))
        self._runs.add(run)
        run.task.add_done_callback(lambda _: self._ended(run))

    def _ended(self, run: _Run) -> None:
        self._runs.discard(run)
        self._changed.set()
        if not run.task.cancelled() and (error := run.task.exception()) is not None:
            self._failure = error

    async def _pause(self, stopping: asyncio.Event) -> None:
        """Returns when there may be work and a slot for it, or when it is time to stop."""
        try:
            if len(self._runs) < self._concurrency and not self._changed.is_set():
                await _first(self._queue.backend.wait(RECHECK), self._changed.wait(), stopping.wait())
            elif len(self._runs) >= self._concurrency:
                await _first(self._changed.wait(), stopping.wait())
        except DatabaseUnavailable as error:
            log.warning("wait.failed", error=str(error))
            await asyncio.sleep(UNAVAILABLE_PAUSE)
        self._changed.clear()

    async def _is_drained(self) -> bool:
        try:
            next_due = await self._queue.backend.next_due()
        except DatabaseUnavailable:
            return False
        return next_due is None or next_due > DRAIN_HORIZON

    # --- Handling

    async def _handle(self, work: Work) -> None:
        claim = work.claim
        with bound_contextvars(job_id=claim.jobs[0].id, kind=claim.kind, attempt=claim.jobs[0].attempt):
            error = await self._outcome(work)
            try:
                if error is None:
                    await self._queue.ack(work.claim)
                elif isinstance(error, asyncio.CancelledError):
                    await self._queue.release(work.claim)
                else:
                    await self._queue.fail(work.claim, error, work.running)
            except LeaseLost:
                log.warning("job.lease_lost")
            except DatabaseUnavailable as unavailable:
                # Its lease runs out, or this process ends: either way the job is claimed again.
                log.error("job.outcome_unrecorded", error=str(unavailable))

    async def _outcome(self, work: Work) -> Exception | asyncio.CancelledError | None:
        """None, or what the handler raised."""
        handler = self._handlers.get(work.claim.kind) or _unknown_kind
        try:
            async with asyncio.timeout(self._deadline):
                await handler(work)
        except asyncio.CancelledError as error:
            if _is_cancelled():
                return error
            # Nobody cancelled us: it comes from a task of the handler's own, and a retry at once would never end.
            failure = RuntimeError("the handler awaited something that was cancelled")
            failure.__cause__ = error
            return failure
        except SystemExit as error:
            return RuntimeError(f"the handler called sys.exit({error.code})")
        except Exception as error:  # noqa: BLE001 # what becomes of the job is decided by what came out of its handler
            return error
        return None

    # --- Taking care

    async def _take_care(self, stopping: asyncio.Event) -> None:
        """Renews leases, takes over from dead workers, and notices handlers that cannot be stopped."""
        extended = monotonic()
        while True:
            await asyncio.sleep(CARE_INTERVAL)
            try:
                if monotonic() - extended >= self._queue.lease / 3:
                    await self._extend()
                    extended = monotonic()
                if not stopping.is_set() and await self._queue.backend.recover():
                    log.warning("worker.recovered")
                    self._changed.set()
            except (DatabaseUnavailable, OSError) as error:
                log.warning("care.failed", error=str(error))
            self._notice_stuck()

    def _care_ended(self, care: asyncio.Task[None]) -> None:
        """Without care the leases run out under running handlers: this process must not go on."""
        if not care.cancelled() and self._failure is None:
            self._failure = care.exception()
            self._changed.set()

    async def _extend(self) -> None:
        runs = {run.work.claim.receipt: run for run in self._runs}
        for claim in await self._queue.extend([run.work.claim for run in runs.values()]):
            run = runs[claim.receipt]
            if run in self._runs:  # one that has just ended is no loss
                run.task.cancel()

    def _notice_stuck(self) -> None:
        limit = monotonic() - self._deadline - STUBBORN_GRACE
        for run in self._runs:
            if run.started < limit:
                self._give_up(run)

    def _give_up(self, run: _Run) -> None:
        if self._failure is None:
            log.error("handler.stuck", kind=run.work.claim.kind, job_id=run.work.claim.jobs[0].id)
            self._failure = WorkerStuck()
            self._changed.set()

    # --- Stopping

    async def _finish(self, at_once: asyncio.Event | None) -> None:
        """Lets running handlers end; those that don't in time are cut off and handed back."""
        if self._runs:
            log.info("worker.draining", running=len(self._runs))
            ended = asyncio.wait([run.task for run in self._runs], timeout=self._drain_timeout)
            if at_once is None:
                await ended
            else:
                await _first(ended, at_once.wait())
        for run in self._runs:
            run.task.cancel()
        if self._runs:
            await asyncio.wait([run.task for run in self._runs], timeout=LAST_GRACE)
        for run in self._runs:
            self._give_up(run)


def _is_suspect(claim: Claim) -> bool:
    return any(job.crashes >= SUSPECT_CRASHES for job in claim.jobs)


async def _unknown_kind(work: Work) -> None:
    log.warning("job.unknown_kind", kind=work.claim.kind)
    raise Snooze(UNKNOWN_KIND_DELAY, "no handler for this kind here")


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


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
