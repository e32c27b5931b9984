"""The queue in the SQLite file: lanes, claims, receipts.

A lane is one row of `lanes`; `due_at` says when it may be claimed, whatever the reason it may not be before: delay,
quiet window, backoff or a live lease. An expired lease is simply a due lane, so nothing has to sweep.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

from convoq.db import Database
from convoq.db.transaction import Transaction
from convoq.errors import DatabaseUnavailable
from convoq.jobs import PRIORITIES, NewJob
from convoq.logs import log
from convoq.queue.base import (
    Capability,
    Claim,
    EndedJob,
    Ending,
    Enqueued,
    Job,
    JobFilter,
    JobRecord,
    Settle,
    Stats,
    settle_nothing,
)
from convoq.queue.sql import CANCELLABLE, DISCARDABLE, MOVABLE, RETRYABLE
from convoq.queue.sqlite import dedup, erasing, lanes, listing
from convoq.queue.sqlite.enqueue import EnqueueBatcher, JobInserter
from convoq.queue.sqlite.joined import SqliteJoined
from convoq.queue.sqlite.liveness import Liveness, Notifier, is_dead, known_workers, remove_dead

T = TypeVar("T")


class SqliteQueue:
    """The contract of queue.base on one SQLite file, for any number of processes of one machine.

    `look` is how many seconds are between two looks for work whose wake-up was lost.
    """

    capabilities: Final = Capability.SHARED_COMMIT

    def __init__(self, database: Database, settle: Settle = settle_nothing, *, look: float = 0.5) -> None:
        self._database = database
        self._settle = settle
        self._look = look
        inserter = JobInserter(database.clock)
        self._batcher = EnqueueBatcher(database, inserter)
        self.joined = SqliteJoined(database.clock, inserter, self._wake_soon)
        self._notifier = Notifier(database.run_directory)
        # A random prefix per process plus a counter: unique like a random receipt, without one urandom call per claim.
        prefix = secrets.token_hex(8)
        self._receipts = (f"{prefix}-{number:x}" for number in count(1))
        self._liveness: Liveness | None = None
        self._unmarked = False  # the mark is gone and could not be put back
        self._waking: asyncio.Handle | None = None
        self._seen = -1

    # --- Producing

    async def enqueue(self, jobs: Sequence[NewJob], *, max_attempts: int) -> list[Enqueued]:
        results = await self._batcher.enqueue(jobs, max_attempts)
        self._wake_soon()
        return results

    def _wake_soon(self) -> None:
        """Wakes the workers once for all the jobs that this turn of the event loop has made due."""
        if self._waking is None:
            self._waking = asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        self._waking = None
        self._notifier.wake()

    # --- Claiming

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
        now = self._database.clock.now()
        holder = lanes.Holder(worker, self._receipts, until=now + round(lease * 1000), together=together)
        room = lanes.Room(limit, reserve, limit if background is None else background, first)
        return await self._database.write(lanes.claim_due, room, now, holder, durable=False)

    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        until = self._database.clock.now() + round(lease * 1000)
        return self._database.write_blocking(lanes.extend, claims, until)

    # --- Ending a claim

    def ack(self, claim: Claim, *, forget: bool = False) -> asyncio.Future[None]:
        return self._database.submit(lanes.ack, claim, self._database.clock.now(), forget, durable=False)

    async def advance(
        self, claim: Claim, *, forget: bool = False, together: frozenset[str] = frozenset()
    ) -> Claim | None:
        now = self._database.clock.now()
        return await self._database.write(lanes.advance, claim, now, forget, together, durable=False)

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
        now = self._database.clock.now()
        back = lanes.Return(now + round(delay * 1000), charged, error, reason, aside, unrun)
        await self._database.write(lanes.nack, claim, back, now, durable=False)
        self._wake_soon()

    async def bury(self, claim: Claim, jobs: Sequence[Job], *, error: str) -> None:
        await self._end(Ending.BURIED, lanes.bury, claim, jobs, error, self._database.clock.now())

    async def skip(self, claim: Claim, jobs: Sequence[Job], *, reason: str) -> None:
        await self._end(Ending.SKIPPED, lanes.skip, claim, jobs, reason, self._database.clock.now())

    async def _end(self, ending: Ending, change: Callable[..., Sequence[EndedJob]], *values: object) -> int:
        """Ends, revives or hurries jobs and settles their effects in one transaction; how many."""
        ended = await self._database.write(self._settled, ending, change, *values)
        self._wake_soon()
        return ended

    def _settled(
        self, tx: Transaction, ending: Ending, change: Callable[..., Sequence[EndedJob]], *values: object
    ) -> int:
        ended = change(tx, *values)
        for job in self._settle(tx, ending, ended):
            self.joined.enqueue(tx, job)
        return len(ended)

    # --- Workers

    async def register(self, worker: str) -> None:
        self._liveness = Liveness(self._database.run_directory, worker)

    async def recover(self) -> int:
        """Also puts back this worker's own mark where it is gone: unmarked, its death would be seen by no other."""
        self._restore_mark()
        directory = self._database.run_directory
        dead = [name for name in _known_workers(directory) if is_dead(directory, name)]
        if not dead:
            return 0
        freed = await self._database.write(lanes.free_lanes_of, dead, self._database.clock.now(), durable=False)
        for name in dead:
            remove_dead(directory, name)
        return freed

    def _restore_mark(self) -> None:
        if self._liveness is None:
            return
        try:
            restored = self._liveness.restore()
        except OSError as error:
            if not self._unmarked:
                log.warning("worker.unmarked", directory=str(self._database.run_directory), error=str(error))
            self._unmarked = True
            return
        self._unmarked = False
        if restored:
            log.warning("worker.mark_restored", directory=str(self._database.run_directory))

    async def wait(self, timeout: float, *, classes: Sequence[int] = PRIORITIES) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout
        while (left := ends_at - loop.time()) > 0:
            next_due = await self.next_due(classes=classes)
            if not await self._changed(left if next_due is None else min(left, next_due)):
                return
            # What came may be of other classes, of which none may be claimed now: then it is not worth a claim.
            if len(classes) == len(PRIORITIES):
                return

    async def _changed(self, timeout: float) -> bool:
        """Whether work may have come within this time (seconds)."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout
        while (left := ends_at - loop.time()) > 0:
            if await self._woken(min(left, self._look)):
                return True
            changes = await self._database.changes()
            if changes != self._seen:
                self._seen = changes
                return True
        return False

    async def check(self) -> None:
        """It has nothing that is not the store's."""

    async def next_due(self, *, classes: Sequence[int] = PRIORITIES) -> float | None:
        due_at = await self._database.read(lanes.next_due, classes)
        return None if due_at is None else max(0.0, (due_at - self._database.clock.now()) / 1000)

    async def _woken(self, seconds: float) -> bool:
        if self._liveness is None:
            await asyncio.sleep(seconds)
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._liveness.woken.wait()
                self._liveness.woken.clear()
                return True
        return False

    async def close(self) -> None:
        if self._waking is not None:
            self._waking.cancel()
            self._wake()  # a producer that ends right after its enqueue still tells the workers
        if self._liveness is not None:
            liveness, self._liveness = self._liveness, None
            keep_mark = True
            try:
                keep_mark = await self._holds_lanes(liveness.name)
            finally:
                liveness.close(keep_mark=keep_mark)
        self._notifier.close()

    async def _holds_lanes(self, worker: str) -> bool:
        try:
            return worker in await self._database.read(lanes.holders)
        except DatabaseUnavailable:
            return True  # perhaps: the mark lets the others look

    # --- Operating

    async def stats(self) -> Stats:
        now = self._database.clock.now()
        return await self._database.read(listing.stats, now)

    async def list(self, where: JobFilter, *, limit: int = 50, before: str | None = None) -> list[JobRecord]:
        now, ids = self._database.clock.now(), listing.below(before)
        if where.text is None:
            return await self._database.read(listing.find, where, now, limit, ids)
        find = partial(listing.find, where=where, now=now, limit=limit)
        older, newer = await self._in_halves(where, ids, find)
        return [*newer, *older][:limit]

    async def count(self, where: JobFilter) -> int:
        now = self._database.clock.now()
        if where.text is None:
            return await self._database.read(listing.count, where, now)
        return sum(await self._in_halves(where, listing.ANY_ID, partial(listing.count, where=where, now=now)))

    async def _in_halves(self, where: JobFilter, ids: range, search: Callable[..., T]) -> tuple[T, T]:
        """A text is looked for in every payload: by two threads, and no other read waits for both."""
        older, newer = await self._database.read(listing.halves, where, ids)
        return await asyncio.gather(
            self._database.read_beside(partial(search, ids=older)), self._database.read(partial(search, ids=newer))
        )

    async def get(self, job_id: str) -> JobRecord | None:
        found = await self.list(JobFilter(ids=(job_id,)), limit=1)
        return found[0] if found else None

    async def busy(self, ordering_keys: Sequence[str]) -> set[str]:
        return await self._database.read(listing.busy, ordering_keys)

    async def retry_dead(self, where: JobFilter, *, limit: int = 500) -> int:
        found = await self._narrowed(where, RETRYABLE, limit)
        if not found.ids:
            return 0
        return await self._end(Ending.RETRIED, listing.revive, found, self._database.clock.now(), limit)

    async def run_now(self, where: JobFilter, *, limit: int = 500) -> int:
        found = await self._narrowed(where, MOVABLE, limit)
        if not found.ids:
            return 0
        return await self._end(Ending.RUN_NOW, listing.run_now, found, self._database.clock.now(), limit)

    async def cancel(self, where: JobFilter, *, limit: int = 500) -> int:
        found = await self._narrowed(where, CANCELLABLE, limit)
        if not found.ids:
            return 0
        return await self._end(Ending.CANCELLED, listing.cancel, found, self._database.clock.now(), limit)

    async def discard(self, where: JobFilter, *, limit: int = 500) -> int:
        found = await self._narrowed(where, DISCARDABLE, limit)
        if not found.ids:
            return 0
        return await self._end(Ending.DISCARDED, listing.discard, found, limit)

    async def _narrowed(self, where: JobFilter, also: str, limit: int) -> JobFilter:
        # Beside the writers: a search by text or lane reads every job, and at the gate all processes would wait for it.
        return await self._database.read(listing.narrow, where, also, limit, self._database.clock.now())

    async def erase(self, ids: Sequence[str]) -> int:
        erased = await self._database.write(erasing.erase, ids, self._database.clock.now())
        self._wake_soon()
        return erased

    async def scrub(self) -> str | None:
        """Its files are the store's."""
        return None

    async def prune(self, *, older_than: float, limit: int = 500) -> int:
        now = self._database.clock.now()
        return await self._database.write(_prune, now, round(older_than * 1000), limit, durable=False)


def _known_workers(directory: Path) -> list[str]:
    try:
        return known_workers(directory)
    except OSError:
        return []  # the directory is gone, or no descriptor is left to read it: nothing is proven


def _prune(tx: Transaction, now: int, older_than: int, limit: int) -> int:
    dedup.prune(tx, now, limit)
    return listing.prune(tx, now - older_than, limit)
