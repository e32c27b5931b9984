"""The queue's policy: attempts, backoff, burial, and one log event for each transition."""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import Callable, Sequence

from convoq.errors import DatabaseUnavailable, LeaseLost, RetryLater, Snooze, Unrecoverable
from convoq.jobs import INTAKE, PRIORITIES, NewJob
from convoq.logs import log
from convoq.queue.base import Claim, Enqueued, Job, Queue
from convoq.settings import QueueSettings
from convoq.text import last_line

LONGEST_INTAKE_WAIT = 1.0  # seconds
INTAKE_STARTS = 20  # of what is taken in, which kills no worker: such starts end with what runs beside it
LONGEST_REASON = 300  # characters that an operator reads in a list
EXPECTED = (RetryLater, Unrecoverable)  # outcomes in a handler's own words
LONGEST_ERROR = 8000  # characters of a traceback that are kept with the job


class QueueService:
    """The queue as producers and workers use it, over any engine."""

    def __init__(self, queue: Queue, settings: QueueSettings, *, random: Callable[[], float] = random.random) -> None:
        self._queue = queue
        self.lease = settings.visibility_timeout
        self._settings = settings
        self._random = random

    async def enqueue(self, job: NewJob) -> Enqueued:
        """When this returns, the job is on disk or was there already. Raises DatabaseUnavailable."""
        [result] = await self._queue.enqueue((job,), max_attempts=self._settings.max_attempts)
        _log_enqueued(job, result)
        return result

    async def enqueue_many(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        """All of them or none."""
        results = await self._queue.enqueue(jobs, max_attempts=self._settings.max_attempts)
        for job, result in zip(jobs, results, strict=True):
            _log_enqueued(job, result)
        return results

    async def claim(
        self,
        limit: int,
        *,
        worker: str,
        reserve: int = 0,
        background: int | None = None,
        first: int | None = None,
        together: frozenset[str] = frozenset(),
    ) -> list[Claim]:
        """Up to `limit` claims to run, and up to `reserve` of INTAKE, as Queue.claim says.

        Jobs that killed their worker on every start are buried unrun; what should have begun before now is skipped.
        """
        claims = await self._queue.claim(
            limit, lease=self.lease, worker=worker, reserve=reserve, background=background, first=first,
            together=together,
        )  # fmt: skip
        if all(map(_is_startable, claims)):
            return claims
        # In one commit: a STOP among the claims waits for no burial after another.
        startable = await asyncio.gather(*map(self._startable, claims))
        return [claim for claim in startable if claim is not None]

    def extend(self, claims: Sequence[Claim]) -> list[Claim]:
        """Renews the leases; returns the claims that are lost. Blocks: call it in a thread."""
        return self._queue.extend(claims, lease=self.lease)

    async def ack(self, claim: Claim, *, forget: bool = False) -> None:
        """The claim's jobs are done; to `forget` them is to delete them. Raises LeaseLost."""
        await self._queue.ack(claim, forget=forget)
        log_finished(claim)

    async def advance(
        self, claim: Claim, *, forget: bool = False, together: frozenset[str] = frozenset()
    ) -> Claim | None:
        """The claim's jobs are done, and it goes on with those behind them that are to run. Raises LeaseLost."""
        following = await self._queue.advance(claim, forget=forget, together=together)
        log_finished(claim)
        return None if following is None else await self._startable(following)

    async def register(self, worker: str) -> None:
        """Announces this process as a worker, before its first claim."""
        await self._queue.register(worker)

    async def recover(self) -> int:
        """Makes the lanes due that dead workers had claimed; how many."""
        return await self._queue.recover()

    async def wait(self, timeout: float, *, classes: Sequence[int] = PRIORITIES) -> None:
        """Returns when work of these classes may have become due, at the latest after `timeout` seconds."""
        await self._queue.wait(timeout, classes=classes)

    async def check(self) -> None:
        """Raises DatabaseUnavailable when no job could be enqueued just now for a reason that is not the store's."""
        await self._queue.check()

    async def next_due(self) -> float | None:
        """Seconds until the next lane is due (0: now); None when the queue is empty."""
        return await self._queue.next_due()

    async def release(self, claim: Claim, *, unrun: bool = False) -> None:
        """The claim goes back as if it had never been taken; its jobs may have been begun, unless it is `unrun`.

        Raises LeaseLost.
        """
        await self._queue.nack(claim, delay=0, unrun=unrun)
        log.info("job.released", kind=claim.kind, jobs=_ids(claim.jobs))

    async def defer(self, claim: Claim, delay: float) -> None:
        """The claim goes back unrun and is due again after `delay` seconds; costs no attempt. Raises LeaseLost."""
        reason = "another job that may have killed its worker goes first"
        await self._queue.nack(claim, delay=delay, reason=reason, unrun=True)
        log.info("job.put_off", kind=claim.kind, jobs=_ids(claim.jobs), delay=delay)

    async def put_aside(self, claim: Claim, delay: float, *, reason: str) -> None:
        """The claim goes back unrun for `delay` seconds and holds up nothing behind it. Raises LeaseLost."""
        await self._queue.nack(claim, delay=delay, reason=reason, aside=True, unrun=True)

    async def fail(self, claim: Claim, error: Exception, run: Sequence[Job]) -> None:
        """Decides what becomes of the jobs that were run when `error` came out of their handler. Raises LeaseLost.

        Snooze and DatabaseUnavailable cost no attempt, and INTAKE no death of its worker. Unrecoverable, or a last
        attempt, buries them. Anything else
        retries: after the delay that RetryLater asks for, or with exponential backoff and full jitter.
        """
        if isinstance(error, DatabaseUnavailable):
            # A locked file or a full disk is no job's fault: no message is buried for it.
            error = Snooze(self._settings.backoff_base, str(error))
        if isinstance(error, Snooze):
            delay = _bounded(claim, error.delay)
            await self._queue.nack(claim, delay=delay, reason=_reason(str(error)))
            log.info("job.snoozed", kind=claim.kind, jobs=_ids(run), delay=delay, reason=str(error))
            return
        fatal = isinstance(error, Unrecoverable)
        spent = [job for job in run if fatal or _failures(claim, job) >= job.max_attempts]
        if spent:
            await self._bury(claim, spent, error_text(error))
        left = [job for job in claim.jobs if job not in spent]
        if left:
            await self._retry(claim.with_jobs(left), error, [job for job in run if job not in spent])

    async def _retry(self, claim: Claim, error: Exception, charged: Sequence[Job]) -> None:
        delay = 0.0
        if charged:
            wanted = error.delay if isinstance(error, RetryLater) else self.backoff(charged[0].attempt)
            delay = _bounded(claim, wanted)
        why = str(error) if isinstance(error, EXPECTED) else f"{type(error).__name__}: {error}"
        await self._queue.nack(claim, delay=delay, charged=charged, error=error_text(error), reason=_reason(why))
        if charged:
            log.warning(
                "job.retried", kind=claim.kind, jobs=_ids(charged), delay=round(delay, 3), attempt=charged[0].attempt,
                error=why,
            )  # fmt: skip

    async def _startable(self, claim: Claim) -> Claim | None:
        """What is left of it once the jobs that must not run have ended.

        None also where they could not be ended: the next claim of the lane does it, and the claims beside this one are
        good.
        """
        begun_in_time = await self._without_late(claim)
        return None if begun_in_time is None else await self._without_spent(begun_in_time)

    async def _without_late(self, claim: Claim) -> Claim | None:
        late = [job for job in claim.jobs if job.late]
        if not late:
            return claim
        try:
            await self._queue.skip(claim, late, reason="no worker began it in time")
        except Exception as error:  # noqa: BLE001 # a bug in one ending must not take the other claims with it
            _log_not_ended("skip.failed", claim, late, error)
            return None
        log.warning("job.skipped", kind=claim.kind, jobs=_ids(late), reason="no worker began it in time")
        left = [job for job in claim.jobs if not job.late]
        return claim.with_jobs(left) if left else None

    async def _without_spent(self, claim: Claim) -> Claim | None:
        spent = [job for job in claim.jobs if _is_spent(claim, job)]
        if not spent:
            return claim
        try:
            await self._bury(claim, spent, f"started {spent[0].attempt - 1} times, and no start came to an end")
        except Exception as error:  # noqa: BLE001 # as above
            _log_not_ended("burial.failed", claim, spent, error)
            return None
        left = [job for job in claim.jobs if job not in spent]
        return claim.with_jobs(left) if left else None

    async def _bury(self, claim: Claim, jobs: Sequence[Job], error: str) -> None:
        await self._queue.bury(claim, jobs, error=error)
        log.error("job.buried", kind=claim.kind, jobs=_ids(jobs), error=last_line(error))

    def backoff(self, attempt: int) -> float:
        """Seconds to wait after so many attempts: exponential with full jitter, and bounded."""
        longest = min(self._settings.backoff_cap, self._settings.backoff_base * 2.0 ** (attempt - 1))
        return longest * self._random()


def _log_enqueued(job: NewJob, result: Enqueued) -> None:
    log.debug("job.enqueued", kind=job.kind, job_id=result.job_id, duplicate=result.duplicate)


def log_finished(claim: Claim) -> None:
    for job in claim.jobs:
        log.info("job.finished", kind=job.kind, job_id=job.id, attempt=job.attempt)


def _is_spent(claim: Claim, job: Job) -> bool:
    """Its worker died on every start."""
    most = max(job.max_attempts, INTAKE_STARTS) if claim.priority == INTAKE else job.max_attempts
    return job.attempt > most


def _failures(claim: Claim, job: Job) -> int:
    """Starts, this one among them, that count as its own failures: with INTAKE not those on which its worker died."""
    return job.attempt - claim.crashes if claim.priority == INTAKE else job.attempt


def _is_startable(claim: Claim) -> bool:
    return not any(job.late or _is_spent(claim, job) for job in claim.jobs)


def _log_not_ended(event: str, claim: Claim, jobs: Sequence[Job], error: Exception) -> None:
    if isinstance(error, (LeaseLost, DatabaseUnavailable)):
        log.warning(event, kind=claim.kind, jobs=_ids(jobs), error=str(error))
    else:
        log.error(event, kind=claim.kind, jobs=_ids(jobs), error=error_text(error))


def _bounded(claim: Claim, delay: float) -> float:
    """A STOP may stand behind a message that cannot be taken in."""
    return min(delay, LONGEST_INTAKE_WAIT) if claim.priority == INTAKE else delay


def _reason(text: str) -> str:
    """One line of it."""
    return " ".join(_storable(text).split())[:LONGEST_REASON]


def _ids(jobs: Sequence[Job]) -> list[str]:
    return [job.id for job in jobs]


def error_text(error: BaseException) -> str:
    """What operators read: the words of an expected outcome, the traceback of anything else."""
    if isinstance(error, EXPECTED):
        return _storable(str(error))
    return _storable("".join(traceback.format_exception(error))[-LONGEST_ERROR:])


def _storable(text: str) -> str:
    """Half a character, as in the names of files, is not UTF-8: it is written out."""
    return text.encode("utf-8", "backslashreplace").decode()
