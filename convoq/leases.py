"""A thread beside the event loop: it keeps the leases, and sees which job blocks the loop."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, process_time
from types import FrameType
from typing import Protocol

from convoq.clock import since_boot
from convoq.errors import DatabaseUnavailable
from convoq.handlers.base import ClaimContext
from convoq.handlers.tasks import JobScope
from convoq.logs import log
from convoq.queue.base import Claim
from convoq.queue.service import QueueService

OVERSLEPT_SECONDS = 0.5  # beyond its time: then the thread itself was held up
STACK_DEPTH = 6  # frames of the main thread that the log shows, the innermost first


class Held(Protocol):
    """A claim whose lease is to be kept."""

    started: float  #: when its deadline began, by the monotonic clock
    scope: JobScope

    @property
    def claim(self) -> Claim: ...

    @property
    def context(self) -> ClaimContext: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperTimings:
    """All in seconds."""

    beat: float  #: between two looks at the loop and the leases
    retry: float  #: before leases that could not be renewed are tried again
    blocked: float  #: a loop that does not answer for so long is reported
    longest_run: float  #: a handler that blocks the loop so long after its start has the process replaced


@dataclass(slots=True)
class _Block:
    scope: JobScope | None  #: the job that blocks the loop, as far as that can be seen
    since: float
    held: Held | None

    @property
    def run_started(self) -> float:
        return self.since if self.held is None else self.held.started


class LeaseKeeper:
    """Renews the lease of every claim that is held, also while a handler blocks the loop.

    `held` is called in the thread; `lost`, with the claims that another worker has, and `failed` in the loop. `stuck`
    is called in the thread when the handler that blocks the loop is over its time: it must end the process.
    """

    def __init__(
        self,
        queue: QueueService,
        timings: KeeperTimings,
        *,
        held: Callable[[], Sequence[Held]],
        lost: Callable[[Sequence[Claim]], None],
        failed: Callable[[BaseException], None],
        stuck: Callable[[], object],
    ) -> None:
        self._queue = queue
        self._timings = timings
        self._held = held
        self._lost = lost
        self._failed = failed
        self._stuck = stuck
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._stopping = threading.Event()
        self._ended = asyncio.Event()
        self._renew_at = monotonic() + queue.lease / 3
        self._answered_at: float | None = monotonic()  # None: the loop has not yet come to the beat
        self._beat_at = self._looked_at = monotonic()
        self._worked = process_time()
        self._block: _Block | None = None
        threading.Thread(target=self._keep, name="convoq-leases", daemon=True).start()

    async def stop(self) -> None:
        """Returns once the thread has ended."""
        self._stopping.set()
        await self._ended.wait()

    # --- In the thread

    def _keep(self) -> None:
        try:
            while not self._stopping.wait(self._timings.beat):
                self._look_at_loop()
                self._renew()
                self._looked_at, self._worked = monotonic(), process_time()
            if self._block is not None and self._answered_at is not None:
                self._note_answer(self._answered_at - self._beat_at)
        except Exception as error:  # noqa: BLE001 # it is the worker's end, which the loop makes of it
            self._in_loop(self._failed, error)
        self._in_loop(self._ended.set)

    def _in_loop(self, function: Callable[..., object], *args: object) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function, *args)

    def _renew(self) -> None:
        if monotonic() < self._renew_at:
            return
        held, now = self._held(), since_boot()
        try:
            lost = self._queue.extend([each.claim for each in held]) if held else []
        except (DatabaseUnavailable, OSError) as error:
            log.warning("care.failed", error=str(error))
            self._renew_at = monotonic() + self._timings.retry
            return
        self._renew_at = monotonic() + self._queue.lease / 3
        receipts = {claim.receipt for claim in lost}
        for each in held:
            if each.claim.receipt not in receipts:
                each.context.renewed_at = now
        if lost:
            self._in_loop(self._lost, lost)

    def _look_at_loop(self) -> None:
        now = monotonic()
        if self._was_paused(now):
            self._beat_at = now
        if self._answered_at is not None:
            self._note_answer(self._answered_at - self._beat_at)
            self._answered_at, self._beat_at = None, now
            self._in_loop(self._answer)
        elif now - self._beat_at >= self._timings.blocked:
            self._note_block(now)

    def _answer(self) -> None:
        self._answered_at = monotonic()

    def _was_paused(self, now: float) -> bool:
        """Whether the whole process stood still (SIGSTOP, a frozen machine), which is not the loop's fault.

        Code that holds the interpreter's lock stops this thread as well, but it uses the processor.
        """
        asleep, worked = now - self._looked_at, process_time() - self._worked
        return asleep > self._timings.beat + OVERSLEPT_SECONDS and worked < asleep / 2

    def _note_block(self, now: float) -> None:
        where = _stack(sys._current_frames().get(self._loop_thread))  # noqa: SLF001 # documented, for debuggers
        if self._block is None:
            self._block = self._find_block()
            log.warning("loop.blocked", **_job(self._block.scope), where=where)
        if now - self._block.run_started > self._timings.longest_run:
            log.error("handler.stuck", **_job(self._block.scope), where=where)
            self._stuck()

    def _find_block(self) -> _Block:
        task = asyncio.current_task(self._loop)
        scope = getattr(task.get_coro(), "scope", None) if task is not None else None
        held = next((held for held in self._held() if held.scope is scope), None)
        return _Block(scope, self._beat_at, held)

    def _note_answer(self, late: float) -> None:
        if self._block is not None:
            log.warning("loop.free", **_job(self._block.scope), seconds=round(late, 1))
        elif late >= self._timings.blocked:
            # Code that held the interpreter's lock kept this thread from looking meanwhile.
            held = self._held()
            log.warning("loop.blocked", **_job(held[0].scope if len(held) == 1 else None), seconds=round(late, 1))
        self._block = None


def _job(scope: JobScope | None) -> dict[str, str]:
    return {} if scope is None else {"kind": scope.kind, "job_id": scope.job_id}


def _stack(frame: FrameType | None) -> str:
    """Where a thread is, on one line: the innermost call first."""
    calls: list[str] = []
    while frame is not None and len(calls) < STACK_DEPTH:
        calls.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return " < ".join(calls)
