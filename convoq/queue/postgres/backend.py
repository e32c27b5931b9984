"""The queue in a PostgreSQL database: lanes, claims, receipts, for any number of machines.

A lane is one row of `lanes`; `due_at` says when it may be claimed, whatever the reason it may not be before: delay,
quiet window, backoff or a live lease. An expired lease is simply a due lane, so nothing has to sweep. What a verb does
stands in the functions that the migrations make.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, groupby
from time import monotonic
from typing import Final

from convoq.clock import EngineClock
from convoq.db.postgres.store import PostgresDatabase
from convoq.db.transaction import Transaction
from convoq.errors import LeaseLost
from convoq.jobs import PRIORITIES, RESERVED, NewJob
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
from convoq.queue.postgres import lanes, listing
from convoq.queue.postgres.calls import AckCall, EnqueueCall, Notify, Query, Row
from convoq.queue.postgres.channel import Channel
from convoq.queue.postgres.extending import Extender
from convoq.queue.postgres.joined import PostgresJoined
from convoq.queue.postgres.liveness import WAKE, Liveness
from convoq.queue.postgres.text import stored_key, stored_text
from convoq.queue.rules import require_unicode
from convoq.queue.sql import CANCELLABLE, DISCARDABLE, MOVABLE, RETRYABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresTimings:
    """All in seconds."""

    look: float = 2.0  #: between two looks for work whose wake-up was lost
    shortest_look: float = 0.01  #: what is due and could not be claimed is held by another transaction
    death: float = 1.0  #: a worker is without its mark for so long before its claims are taken: it may come back


class PostgresQueue:
    """The contract of queue.base on one PostgreSQL database, which it shares with the store."""

    capabilities: Final = Capability.SHARED_COMMIT

    def __init__(
        self,
        database: PostgresDatabase,
        settle: Settle = settle_nothing,
        *,
        timings: PostgresTimings = PostgresTimings(),
    ) -> None:
        self._database = database
        self._settle = settle
        self._timings = timings
        self._server = server = database.server
        self._enqueues = Channel(server.connect_async, server.location)
        self._verbs = Channel(server.connect_async, server.location)
        self._extender = Extender(server)
        # Lanes of jobs without a key, each with a name of its own.
        prefix = f"{RESERVED}{secrets.token_hex(8)}-"
        self._lanes = (f"{prefix}{number:08x}" for number in count())
        self.joined = PostgresJoined(self._now, self._lanes, self._wake_soon)
        self._liveness: Liveness | None = None
        self._waking: asyncio.Handle | None = None
        self._missing: dict[str, float] = {}  # dead workers, and since when their marks are missing
        self._unclaimed = False  # the last claim found nothing

    def _now(self) -> int | None:
        """None: the server's own time."""
        clock = self._database.clock
        return None if isinstance(clock, EngineClock) else clock.now()

    # --- Producing

    async def enqueue(self, jobs: Sequence[NewJob], *, max_attempts: int) -> list[Enqueued]:
        for job in jobs:
            require_unicode(job)
        if not jobs:
            return []
        call = self._enqueues.last_waiting
        if not isinstance(call, EnqueueCall) or not call.is_open:
            call = EnqueueCall(self._now(), self._lanes)
            self._enqueues.post(call)
        results = await call.add(jobs, max_attempts)
        self._wake_soon()
        return results

    def _wake_soon(self) -> None:
        """Wakes the workers once for all the jobs that this turn of the event loop has made due."""
        if self._waking is None:
            self._waking = asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        self._waking = None
        # A producer that is in a hurry does not wait for it; others need no second connection.
        channel = self._verbs if self._verbs.is_open or self._enqueues.last_waiting else self._enqueues
        if not isinstance(channel.last_waiting, Notify):
            channel.post(Notify(WAKE))

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
        room = (limit, reserve, limit if background is None else background, first)
        kinds = [stored_key(kind) for kind in together]
        rows = await self._ask(lanes.CLAIM, self._now(), round(lease * 1000), worker, self._is_marked, *room, kinds)
        return [lanes.claim_of(list(of_lane)) for _, of_lane in groupby(rows, key=lambda row: row[1])]

    @property
    def _is_marked(self) -> bool:
        return self._liveness is not None and self._liveness.is_marked

    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        return self._extender.extend(claims, self._now(), lease) if claims else []

    async def _ask(self, sql: str, *values: object) -> list[Row]:
        query = Query(sql, *values)
        self._verbs.post(query)
        return await query.done

    # --- Ending a claim

    def ack(self, claim: Claim, *, forget: bool = False) -> asyncio.Future[None]:
        call = self._verbs.last_waiting
        if not isinstance(call, AckCall) or not call.takes(claim):
            call = AckCall(self._now())
            self._verbs.post(call)
        return asyncio.ensure_future(self._acked(call.add(claim, forget=forget)))

    async def _acked(self, stands: asyncio.Future[bool]) -> None:
        if await stands:
            self._wake_soon()

    async def advance(
        self, claim: Claim, *, forget: bool = False, together: frozenset[str] = frozenset()
    ) -> Claim | None:
        held = (stored_key(claim.lane), claim.receipt, claim.priority, [int(job.id) for job in claim.jobs])
        kinds = [stored_key(kind) for kind in together]
        rows = await self._ask(lanes.ADVANCE, self._now(), *held, forget, kinds)
        if not rows:
            raise LeaseLost
        if rows[0][0] is not None:
            return lanes.following(claim, rows)
        if rows[0][-1]:
            self._wake_soon()
        return None

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
        kept = {job.id for job in charged}
        refunded = [job for job in claim.jobs if job.id not in kept]
        back = (
            [int(job.id) for job in refunded],
            [int(job.id) for job in refunded if unrun and not job.begun],
            [int(job_id) for job_id in kept],
            stored_text(error),
            stored_text(reason),
            lanes.aside_of(claim) if aside else None,
            unrun,
        )
        held = (stored_key(claim.lane), claim.receipt)
        [(stands,)] = await self._ask(lanes.NACK, self._now(), *held, round(delay * 1000), *back)
        if stands is None:
            raise LeaseLost
        self._wake_soon()

    async def bury(self, claim: Claim, jobs: Sequence[Job], *, error: str) -> None:
        await self._end(Ending.BURIED, lanes.bury, claim, jobs, error, self._now())

    async def skip(self, claim: Claim, jobs: Sequence[Job], *, reason: str) -> None:
        await self._end(Ending.SKIPPED, lanes.skip, claim, jobs, reason, self._now())

    async def _end(self, ending: Ending, change: Callable[..., Sequence[EndedJob]], *values: object) -> int:
        """Ends, revives or hurries jobs and settles their effects in one transaction of the store's; how many."""
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
        liveness = Liveness(self._server.connect_directly, self._server.location, worker)
        await liveness.open()
        self._liveness = liveness

    async def recover(self) -> int:
        [(dead,)] = await self._ask(lanes.DEAD_WORKERS)
        now = monotonic()
        self._missing = {name: self._missing.get(name, now) for name in dead or ()}
        over = [name for name, since in self._missing.items() if now - since >= self._timings.death]
        if not over:
            return 0
        [(freed,)] = await self._ask(lanes.RECOVER, self._now(), over)
        return int(freed)

    async def wait(self, timeout: float, *, classes: Sequence[int] = PRIORITIES) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout
        while (left := ends_at - loop.time()) > 0:
            next_due = await self.next_due(classes=classes)
            pause = left if next_due is None else min(left, max(next_due, self._timings.shortest_look))
            if await self._woken(min(pause, self._timings.look)):
                # What came may be of other classes, of which none may be claimed now: then it is not worth a claim.
                if len(classes) == len(PRIORITIES):
                    return
            elif pause <= self._timings.look:
                return

    async def check(self) -> None:
        """It has nothing that is not the store's."""

    async def next_due(self, *, classes: Sequence[int] = PRIORITIES) -> float | None:
        [(milliseconds,)] = await self._ask(lanes.NEXT_DUE, self._now(), list(classes))
        return None if milliseconds is None else milliseconds / 1000

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
        await self._enqueues.close()
        await self._verbs.close()
        if self._liveness is not None:
            liveness, self._liveness = self._liveness, None
            await liveness.close()
        self._extender.close()

    # --- Operating

    async def stats(self) -> Stats:
        return await self._database.read(listing.stats, self._now())

    async def list(self, where: JobFilter, *, limit: int = 50, before: str | None = None) -> list[JobRecord]:
        return await self._database.read(listing.find, where, self._now(), limit, before)

    async def count(self, where: JobFilter) -> int:
        return await self._database.read(listing.count, where, self._now())

    async def get(self, job_id: str) -> JobRecord | None:
        found = await self.list(JobFilter(ids=(job_id,)), limit=1)
        return found[0] if found else None

    async def busy(self, ordering_keys: Sequence[str]) -> set[str]:
        return await self._database.read(listing.busy, ordering_keys)

    async def retry_dead(self, where: JobFilter, *, limit: int = 500) -> int:
        return await self._change(Ending.RETRIED, listing.revive, where, RETRYABLE, limit)

    async def run_now(self, where: JobFilter, *, limit: int = 500) -> int:
        return await self._change(Ending.RUN_NOW, listing.run_now, where, MOVABLE, limit)

    async def cancel(self, where: JobFilter, *, limit: int = 500) -> int:
        return await self._change(Ending.CANCELLED, listing.cancel, where, CANCELLABLE, limit)

    async def discard(self, where: JobFilter, *, limit: int = 500) -> int:
        return await self._change(Ending.DISCARDED, listing.discard, where, DISCARDABLE, limit)

    async def _change(
        self, ending: Ending, change: Callable[..., Sequence[EndedJob]], where: JobFilter, also: str, limit: int
    ) -> int:
        # Apart from the writing: a search by text or lane reads every job, and would be in the way of every writer.
        found = await self._database.read(listing.narrow, where, also, self._now(), limit)
        return await self._end(ending, change, found, self._now(), limit) if found.ids else 0

    async def erase(self, ids: Sequence[str]) -> int:
        erased = await self._database.write(listing.erase, ids, self._now())
        self._wake_soon()
        return erased

    async def scrub(self) -> str | None:
        """Its files are the store's."""
        return None

    async def prune(self, *, older_than: float, limit: int = 500) -> int:
        [(deleted,)] = await self._ask(lanes.PRUNE, self._now(), round(older_than * 1000), limit)
        return int(deleted)
