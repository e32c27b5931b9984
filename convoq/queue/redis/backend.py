"""The queue on a Redis or Valkey server: a lane is a sorted set of jobs, and every verb a script.

When a lane is due is its score in one sorted set a class, whatever it waits for: delay, backoff, quiet window or a live
lease. An expired lease is simply a due lane, so nothing has to sweep.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from itertools import count
from typing import Final

from convoq.clock import Clock
from convoq.db.store import Store
from convoq.errors import DatabaseRefused, DatabaseUnavailable, LeaseLost
from convoq.jobs import PRIORITIES, NewJob
from convoq.queue.base import Capability, Claim, EndedJob, Ending, Enqueued, Job, Settle, settle_nothing
from convoq.queue.redis.admin import RedisJobs
from convoq.queue.redis.connection import BlockingScripts, Reply, Scripts, Server
from convoq.queue.redis.enqueue import EnqueueBatcher, Replicas, new_job_arguments
from convoq.queue.redis.ownership import Ownership
from convoq.queue.redis.presence import Judge, Presence, PresenceTimings
from convoq.queue.redis.requirements import FULL
from convoq.queue.redis.scripts import LOST

NET_INTERVAL: Final = 0.5  # seconds between two looks of a process that is not woken


class RedisQueue(RedisJobs):
    """The contract of queue.base on one Redis server, for any number of processes.

    What jobs would have done is settled in `store`, in whose time all times are told. `clock` is Redis's own; tests
    turn one by hand.
    """

    capabilities: Final = Capability(0)

    def __init__(
        self,
        server: Server,
        store: Store,
        settle: Settle = settle_nothing,
        *,
        prefix: str = "convoq",
        replicas: Replicas | None = None,
        clock: Clock | None = None,
        timings: PresenceTimings | None = None,
    ) -> None:
        self._scripts = Scripts(server, prefix)
        super().__init__(self._scripts, store, settle, clock)
        self._server = server
        self._prefix = self._scripts.prefix
        self._batcher = EnqueueBatcher(Scripts(server, prefix), replicas, self._now)
        self._blocking = BlockingScripts(server, prefix)
        #: whose queue it is
        self.ownership = Ownership(self._scripts, store, f"{server}, redis.prefix {prefix}")
        self._timings = timings or PresenceTimings()
        self._presence: Presence | None = None
        self._judge = Judge(self._timings)
        # A random prefix per process plus a counter: unique like a random receipt, without one urandom call per claim.
        token = secrets.token_hex(8)
        self._receipts = (f"{token}-{number:x}" for number in count(1))

    # --- Producing

    async def enqueue(self, jobs: Sequence[NewJob], *, max_attempts: int) -> list[Enqueued]:
        return await self._batcher.enqueue(jobs, max_attempts)

    async def follow(self, jobs: Sequence[NewJob], due: Sequence[str] = ()) -> list[bool]:
        """Adds each of the jobs of which none stands ready in its lane, and makes the `due` lanes due at once.

        Which were added. What the store has written before is seen by the one that stands there.
        """
        arguments = [each for job in jobs for each in new_job_arguments(job, job.max_attempts)]
        added = await self._scripts.run("follow", self._now(), len(jobs), *arguments, *due)
        return [each == 1 for each in added]

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
        if self._presence is not None and not self._presence.is_heard:
            # The others take it for dead, and its claims for theirs.
            raise DatabaseUnavailable(f"{self._server}: the worker's subscription is lost")
        now, *rows = await self._scripts.run(
            "claim", self._now(), _ms(lease), worker, next(self._receipts), limit, reserve,
            limit if background is None else background, "" if first is None else first, *together,
        )  # fmt: skip
        return [
            Claim(
                lane=lane.decode(),
                receipt=receipt.decode(),
                jobs=self._jobs(jobs, now),
                priority=priority,
                crashes=crashes,
                has_more=has_more == 1,
            )
            for lane, receipt, priority, crashes, has_more, jobs in rows
        ]

    def _jobs(self, rows: Sequence[Reply], now: int) -> tuple[Job, ...]:
        offset = self._offset(now)
        return tuple(
            Job(
                id=job_id.decode(),
                kind=kind.decode(),
                payload=payload.decode(),
                attempt=attempt,
                max_attempts=int(max_attempts),
                enqueued_at=int(enqueued_at) + offset,
                late=late == 1,
                begun=begun == 1,
            )
            for job_id, kind, payload, attempt, max_attempts, enqueued_at, late, begun in rows
        )

    def extend(self, claims: Sequence[Claim], *, lease: float) -> list[Claim]:
        if not claims:
            return []
        held = [each for claim in claims for each in (claim.lane, claim.receipt)]
        lost = self._blocking.run("extend", self._now(), _ms(lease), *held)
        return [claims[index] for index in lost]

    # --- Ending a claim

    def ack(self, claim: Claim, *, forget: bool = False) -> Awaitable[None]:
        reply = self._scripts.run("ack", self._now(), claim.lane, claim.receipt, int(forget), *_ids(claim.jobs))
        return asyncio.ensure_future(_unless_lost(reply))

    async def advance(
        self, claim: Claim, *, forget: bool = False, together: frozenset[str] = frozenset()
    ) -> Claim | None:
        reply = await self._scripts.run(
            "advance", self._now(), claim.lane, claim.receipt, claim.priority, int(forget), len(claim.jobs),
            *_ids(claim.jobs), *together,
        )  # fmt: skip
        if reply == LOST:
            raise LeaseLost
        if reply == 0:
            return None
        now, has_more, rows = reply
        return Claim(
            lane=claim.lane,
            receipt=claim.receipt,
            jobs=self._jobs(rows, now),
            priority=claim.priority,
            crashes=claim.crashes,
            has_more=has_more == 1,
        )

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
        kept = set(_ids(charged))
        refunded = [each for job in claim.jobs if job.id not in kept for each in (job.id, int(job.begun))]
        reply = self._scripts.run(
            "nack", self._now(), claim.lane, claim.receipt, _ms(delay), error or "", reason or "", int(aside),
            int(unrun), claim.priority, len(kept), *kept, *refunded,
        )  # fmt: skip
        await _unless_lost(reply)

    async def bury(self, claim: Claim, jobs: Sequence[Job], *, error: str) -> None:
        await self._whole(self._finish(Ending.BURIED, claim, jobs, error))

    async def skip(self, claim: Claim, jobs: Sequence[Job], *, reason: str) -> None:
        await self._whole(self._finish(Ending.SKIPPED, claim, jobs, reason))

    async def _finish(self, ending: Ending, claim: Claim, jobs: Sequence[Job], why: str) -> None:
        """Settles what the claim still has in the store, then ends it here: a job that is there finds nothing to do."""
        held = await self._scripts.run("held", claim.lane, claim.receipt, *_ids(jobs))
        if held == LOST:
            raise LeaseLost
        ended = [
            EndedJob(id=job.id, kind=job.kind, payload=job.payload, error=why)
            for job in jobs
            if job.id.encode() in held
        ]
        due = await self._settled(ending, ended)
        state, is_free = ("dead", 0) if ending is Ending.BURIED else ("cancelled", 1)
        reply = self._scripts.run(
            "finish", self._now(), claim.lane, claim.receipt, state, why, is_free, len(ended), *_ids(ended), *due
        )
        await _unless_lost(reply)

    # --- Workers

    async def register(self, worker: str) -> None:
        identity = await self._store.identity()
        await self._require_one_database(identity)
        await self.ownership.claim()
        presence = Presence(self._server, self._prefix, worker, identity, self._timings)
        await presence.start()
        self._presence = presence

    async def _require_one_database(self, identity: str) -> None:
        """Raises DatabaseRefused: each would answer from conversations of its own."""
        for name, (database, subscribers) in (await self._workers()).items():
            if subscribers and database and database != identity:
                raise DatabaseRefused(
                    f"{self._server}: worker {name} answers from another database than {self._store.location} (of a"
                    " file all workers are on its machine): run all workers on one database, or give this installation"
                    " a redis.prefix of its own"
                )

    async def recover(self) -> int:
        """Needs two looks some time apart: one alone cannot tell a death from a connection that is made anew."""
        if self._presence is not None and not self._presence.may_judge():
            self._judge.forget()
            return 0
        freed = [await self._scripts.run("recover", self._now(), name) for name in await self._dead()]
        return sum(freed)

    async def _dead(self) -> list[str]:
        try:
            workers = await self._workers()
        except DatabaseUnavailable:
            self._judge.forget()
            raise
        return self._judge.dead({name: subscribers for name, (_, subscribers) in workers.items()})

    async def _workers(self) -> dict[str, tuple[str, int]]:
        """All that are known: the database of each, and how many connections hold its subscription."""
        known = await self._scripts.command("HGETALL", f"{self._prefix}workers")
        names = [name.decode() for name in known]
        # The answer before shows that the server has seen whose connection is gone. Channel and number by turns.
        counts = await self._scripts.command("PUBSUB", "NUMSUB", *(f"{self._prefix}alive:{name}" for name in names))
        databases = [database.decode() for database in known.values()]
        return dict(zip(names, zip(databases, counts[1::2], strict=True), strict=True))

    async def wait(self, timeout: float, *, classes: Sequence[int] = PRIORITIES) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout
        while (left := ends_at - loop.time()) > 0:
            next_due = await self.next_due(classes=classes)
            if next_due == 0:
                return
            woken = await self._woken(left if next_due is None else min(left, next_due))
            # What came may be of other classes, of which none may be claimed now: then it is not worth a claim.
            if woken and len(classes) == len(PRIORITIES):
                return

    async def _woken(self, seconds: float) -> bool:
        presence = self._presence
        if presence is None or not presence.is_heard:
            await asyncio.sleep(min(seconds, NET_INTERVAL))
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await presence.woken.wait()
                presence.woken.clear()
                return True
        return False

    async def check(self) -> None:
        memory = await self._scripts.command("INFO", "memory")
        used, most = int(memory["used_memory"]), int(memory["maxmemory"])
        # Webhooks are kept away before an enqueue is refused.
        if 0 < FULL * most < used:
            raise DatabaseUnavailable(f"{self._server} is full: {used:,} of {most:,} bytes (maxmemory) are used")

    async def next_due(self, *, classes: Sequence[int] = PRIORITIES) -> float | None:
        due = await self._scripts.run("next_due", self._now(), *classes)
        return None if due is None else due / 1000

    async def close(self) -> None:
        await self._batcher.close()
        if self._presence is not None:
            with suppress(DatabaseUnavailable):  # then the others see that it is gone
                await self._scripts.run("leave", self._presence.name)
            await self._presence.close()
        await super().close()
        self._blocking.close()


async def _unless_lost(reply: Awaitable[Reply]) -> None:
    if await reply == LOST:
        raise LeaseLost


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _ids(jobs: Sequence[Job | EndedJob]) -> list[str]:
    return [job.id for job in jobs]
