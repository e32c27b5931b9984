"""The queue in the SQLite file: lanes, claims, receipts.

A lane is one row of `lanes`; `due_at` says when it may be claimed, whatever the reason it may not be before: delay,
quiet window, backoff or a live lease. An expired lease is simply a due lane, so nothing has to sweep.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import NamedTuple

from convoq.db import Database
from convoq.db.transaction import Transaction
from convoq.errors import LeaseLost
from convoq.jobs import PRIORITIES, NewJob
from convoq.queue.base import Claim, Enqueued, Fence, Job, JobFilter, JobRecord, Stats
from convoq.queue.sqlite import dedup, listing
from convoq.queue.sqlite.enqueue import EnqueueBatcher
from convoq.queue.sqlite.liveness import Liveness, Notifier, is_alive, known_workers, remove_dead

LARGEST_CLAIM = 32  # jobs a claim; the rest of a longer burst comes with absorb() or the next claim
ALONE_FROM_ATTEMPT = 3  # a job that failed this often is claimed without its neighbours
NET_INTERVAL = 0.5  # seconds between two looks for work whose wake-up was lost


class _Holder(NamedTuple):
    """The worker that claims, and where the receipts of its claims come from."""

    worker: str
    receipts: Iterator[str]


class SqliteQueue:
    """The contract of queue.base on one SQLite file, for any number of processes of one machine."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batcher = EnqueueBatcher(database)
        self._notifier = Notifier(database.run_directory)
        # A random prefix per process plus a counter: unique like a random receipt, without one urandom call per claim.
        prefix = secrets.token_hex(8)
        self._receipts = (f"{prefix}-{number:x}" for number in count(1))
        self._liveness: Liveness | None = None
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

    async def claim(self, limit: int, *, lease: float, worker: str) -> list[Claim]:
        now = self._database.clock.now()
        until = now + round(lease * 1000)
        holder = _Holder(worker, self._receipts)

        def unit(tx: Transaction) -> list[Claim]:
            claims: list[Claim] = []
            for priority in PRIORITIES:
                due = tx.execute(DUE_LANES, (priority, now, limit - len(claims))).fetchall()
                claims += filter(None, (_claim_lane(tx, lane_id, lane, now, until, holder) for lane_id, lane in due))
                if len(claims) == limit:
                    break
            return claims

        return await self._database.write(unit, durable=False)

    async def absorb(self, claim: Claim) -> Claim:
        now = self._database.clock.now()

        def unit(tx: Transaction) -> Claim:
            lane_id = _require(tx, claim)
            # Taken by an earlier absorb() whose caller never heard of it: ours, and paid for.
            known = _charged_behind(tx, lane_id, claim)
            claim_now = claim.with_jobs([*claim.jobs, *known])
            newer = _newer(tx, lane_id, claim_now)
            _charge(tx, newer, now, claim.receipt)
            return claim_now.with_jobs([*claim_now.jobs, *newer])

        return await self._database.write(unit, durable=False)

    async def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        until = self._database.clock.now() + round(lease * 1000)

        def unit(tx: Transaction) -> list[Claim]:
            return [claim for claim in claims if not _renew(tx, claim, until)]

        return await self._database.write(unit, durable=False)

    # --- Ending a claim

    def ack(self, claim: Claim, jobs: Sequence[Job] | None = None) -> asyncio.Future[None]:
        now = self._database.clock.now()

        def unit(tx: Transaction) -> None:
            lane_id = _require(tx, claim)
            _finish(tx, claim, claim.jobs if jobs is None else jobs, "done", now)
            if jobs is None or not _has_unfinished(tx, lane_id, claim):
                _free_lane(tx, lane_id, now)

        return self._database.submit(unit, durable=False)

    async def nack(
        self,
        claim: Claim,
        *,
        delay: float,
        charged: Sequence[Job] = (),
        error: str | None = None,
        reason: str | None = None,
    ) -> None:
        due_at = self._database.clock.now() + round(delay * 1000)
        kept = {job.id for job in charged}
        refunded = [(int(job.id), claim.receipt) for job in claim.jobs if job.id not in kept]

        def unit(tx: Transaction) -> None:
            lane_id = _require(tx, claim)
            tx.executemany(REFUND, refunded)
            if error is not None:
                tx.executemany("UPDATE jobs SET error = ? WHERE id = ?", [(error, int(i)) for i in kept])
            _free_lane(tx, lane_id, due_at, reason)

        await self._database.write(unit, durable=False)
        self._wake_soon()

    async def bury(self, claim: Claim, jobs: Sequence[Job], *, error: str) -> None:
        now = self._database.clock.now()

        def unit(tx: Transaction) -> None:
            lane_id = _require(tx, claim)
            _finish(tx, claim, jobs, "dead", now, error)
            if not _has_unfinished(tx, lane_id, claim):
                _free_lane(tx, lane_id, now)

        await self._database.write(unit)

    def fence(self, claim: Claim) -> Fence:
        def check(tx: Transaction) -> None:
            _require(tx, claim)

        def has_newer(tx: Transaction) -> bool:
            return bool(_newer(tx, _require(tx, claim), claim))

        return Fence(check, has_newer)

    # --- Workers

    async def register(self, worker: str) -> None:
        self._liveness = Liveness(self._database.run_directory, worker)

    async def recover(self) -> int:
        directory = self._database.run_directory
        holders = await self._database.read(lambda tx: tx.execute(CLAIM_HOLDERS).fetchall())
        names = {worker for (worker,) in holders} | set(known_workers(directory))
        names.discard(self._liveness.name if self._liveness is not None else "")
        gone = [name for name in names if not is_alive(directory, name)]
        if not gone:
            return 0
        now = self._database.clock.now()

        def unit(tx: Transaction) -> int:
            tx.executemany(COUNT_CRASHES, [(name,) for name in gone])
            return sum(tx.execute(FREE_LANES_OF_WORKER, (now, name)).rowcount for name in gone)

        freed = await self._database.write(unit, durable=False)
        for name in gone:
            remove_dead(directory, name)
        return freed

    async def wait(self, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        next_due = await self.next_due()
        deadline = loop.time() + (timeout if next_due is None else min(timeout, next_due))
        while (left := deadline - loop.time()) > 0:
            if await self._woken(min(left, NET_INTERVAL)):
                return
            changes = await self._database.changes()
            if changes != self._seen:
                self._seen = changes
                return

    async def next_due(self) -> float | None:
        due_at = await self._database.read(_next_due)
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
            self._liveness.close()
            self._liveness = None
        self._notifier.close()

    # --- Operating

    async def stats(self) -> Stats:
        now = self._database.clock.now()
        return await self._database.read(listing.stats, now)

    async def list(self, where: JobFilter, *, limit: int = 50, before: str | None = None) -> list[JobRecord]:
        now = self._database.clock.now()
        return await self._database.read(listing.find, where, now, limit, before)

    async def count(self, where: JobFilter) -> int:
        return await self._database.read(listing.count, where)

    async def get(self, job_id: str) -> JobRecord | None:
        found = await self.list(JobFilter(ids=(job_id,)), limit=1)
        return found[0] if found else None

    async def busy(self, ordering_keys: Sequence[str]) -> set[str]:
        return await self._database.read(listing.busy, ordering_keys)

    async def retry_dead(self, where: JobFilter, *, limit: int = 500) -> int:
        now = self._database.clock.now()
        revived = await self._database.write(listing.revive, where, now, limit)
        self._wake_soon()
        return revived

    async def cancel(self, where: JobFilter, *, limit: int = 500) -> int:
        now = self._database.clock.now()
        return await self._database.write(listing.cancel, where, now, limit)

    async def discard(self, where: JobFilter, *, limit: int = 500) -> int:
        return await self._database.write(listing.discard, where, limit)

    async def prune(self, *, older_than: float, limit: int = 500) -> int:
        now = self._database.clock.now()

        def unit(tx: Transaction) -> int:
            dedup.prune(tx, now, limit)
            return listing.prune(tx, now - round(older_than * 1000), limit)

        return await self._database.write(unit, durable=False)


DUE_LANES = "SELECT id, lane FROM lanes WHERE priority = ? AND due_at <= ? ORDER BY due_at LIMIT ?"
CLAIM_HOLDERS = "SELECT DISTINCT worker FROM lanes WHERE receipt IS NOT NULL"
COUNT_CRASHES = """
    UPDATE jobs SET crashes = crashes + 1 WHERE id IN
    (SELECT j.id FROM lanes AS l JOIN jobs AS j ON j.lane_id = l.id AND j.receipt = l.receipt AND j.state = 'ready'
     WHERE l.worker = ? AND l.receipt IS NOT NULL)
"""
FREE_LANE = "UPDATE lanes SET due_at = ?, reason = ?, receipt = NULL, worker = NULL WHERE id = ?"
FREE_LANES_OF_WORKER = """
    UPDATE lanes SET due_at = min(due_at, ?), receipt = NULL, worker = NULL
    WHERE worker = ? AND receipt IS NOT NULL
"""
FRONT = """
    SELECT id, kind, payload, attempt, max_attempts, enqueued_at, crashes FROM jobs
    WHERE lane_id = ? AND state = 'ready' AND id > ? ORDER BY id LIMIT ?
"""

CHARGED_BEHIND = """
    SELECT id, kind, payload, attempt, max_attempts, enqueued_at, crashes FROM jobs
    WHERE lane_id = ? AND state = 'ready' AND id > ? AND receipt = ? ORDER BY id
"""
REFUND = "UPDATE jobs SET attempt = attempt - 1 WHERE id = ? AND state = 'ready' AND receipt = ?"
FINISH = """
    UPDATE jobs SET state = ?, finished_at = ?, error = coalesce(?, error)
    WHERE id = ? AND state = 'ready' AND receipt = ?
"""


def _claim_lane(tx: Transaction, lane_id: int, lane: str, now: int, until: int, holder: _Holder) -> Claim | None:
    jobs = _front(tx, lane_id)
    if not jobs:
        tx.execute("DELETE FROM lanes WHERE id = ?", (lane_id,))
        return None
    receipt = next(holder.receipts)
    tx.execute(
        "UPDATE lanes SET due_at = ?, reason = NULL, receipt = ?, worker = ? WHERE id = ?",
        (until, receipt, holder.worker, lane_id),
    )
    _charge(tx, jobs, now, receipt)
    return Claim(lane, receipt, tuple(jobs))


def _front(
    tx: Transaction, lane_id: int, *, after: int = 0, kind: str | None = None, limit: int = LARGEST_CLAIM
) -> list[Job]:
    """The ready jobs at the lane's front that go into one claim, as they will be once charged."""
    jobs: list[Job] = []
    for row in tx.execute(FRONT, (lane_id, after, limit)):
        job = Job(str(row[0]), row[1], row[2], row[3] + 1, *row[4:])
        if job.kind != (kind or job.kind) or (job.attempt >= ALONE_FROM_ATTEMPT and (jobs or after)):
            break
        kind = job.kind
        jobs.append(job)
        if job.attempt >= ALONE_FROM_ATTEMPT:
            break
    return jobs


def _newer(tx: Transaction, lane_id: int, claim: Claim) -> list[Job]:
    """What absorb() would take; nothing for a claim that is to be alone."""
    if claim.jobs[0].attempt >= ALONE_FROM_ATTEMPT:
        return []
    return _front(tx, lane_id, after=int(claim.jobs[-1].id), kind=claim.kind)


def _charged_behind(tx: Transaction, lane_id: int, claim: Claim) -> list[Job]:
    rows = tx.execute(CHARGED_BEHIND, (lane_id, int(claim.jobs[-1].id), claim.receipt))
    return [Job(str(row[0]), *row[1:]) for row in rows]


def _charge(tx: Transaction, jobs: Iterable[Job], now: int, receipt: str) -> None:
    tx.executemany(
        "UPDATE jobs SET attempt = attempt + 1, claimed_at = ?, receipt = ? WHERE id = ?",
        [(now, receipt, int(job.id)) for job in jobs],
    )


def _require(tx: Transaction, claim: Claim) -> int:
    """The id of the lane that the claim still holds."""
    query = "SELECT id FROM lanes WHERE lane = ? AND receipt = ?"
    held: tuple[int] | None = tx.execute(query, (claim.lane, claim.receipt)).fetchone()
    if held is None:
        raise LeaseLost
    return held[0]


def _renew(tx: Transaction, claim: Claim, until: int) -> bool:
    renewed = tx.execute(
        "UPDATE lanes SET due_at = ? WHERE lane = ? AND receipt = ?", (until, claim.lane, claim.receipt)
    )
    return renewed.rowcount == 1


def _finish(tx: Transaction, claim: Claim, jobs: Iterable[Job], state: str, now: int, error: str | None = None) -> None:
    tx.executemany(FINISH, [(state, now, error, int(job.id), claim.receipt) for job in jobs])


def _has_unfinished(tx: Transaction, lane_id: int, claim: Claim) -> bool:
    rows = tx.execute(
        "SELECT 1 FROM jobs WHERE lane_id = ? AND state = 'ready' AND receipt = ? LIMIT 1", (lane_id, claim.receipt)
    )
    return rows.fetchone() is not None


def _free_lane(tx: Transaction, lane_id: int, due_at: int, reason: str | None = None) -> None:
    """Ends the lane's claim: it is due again at `due_at` if jobs remain, else it goes."""
    if tx.execute("SELECT 1 FROM jobs WHERE lane_id = ? AND state = 'ready' LIMIT 1", (lane_id,)).fetchone():
        tx.execute(FREE_LANE, (due_at, reason, lane_id))
    else:
        tx.execute("DELETE FROM lanes WHERE id = ?", (lane_id,))


def _next_due(tx: Transaction) -> int | None:
    """The earliest due_at of all lanes: one index look-up for each priority."""
    found = [
        tx.execute("SELECT min(due_at) FROM lanes WHERE priority = ?", (priority,)).fetchone()[0]
        for priority in PRIORITIES
    ]
    return min((due_at for due_at in found if due_at is not None), default=None)
