"""What the queue asks of its database: statements, and who waits. Enqueues that wait in a row are one, acks too."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple, Protocol

from convoq.errors import LeaseLost
from convoq.jobs import NewJob
from convoq.queue.base import Claim, Enqueued
from convoq.queue.postgres.text import stored_json, stored_key

Row = tuple[Any, ...]
MOST_JOBS: Final = 512  # of one statement
MOST_ACKS: Final = 128


class Call(Protocol):
    """One statement."""

    @property
    def sql(self) -> str: ...

    @property
    def shares(self) -> bool:
        """Whether its transaction may be that of the calls beside it."""
        ...

    def values(self) -> Sequence[object]:
        """From here on nothing is added to it."""
        ...

    def is_wanted(self) -> bool:
        """Whether a caller still waits for it."""
        ...

    def parts(self) -> Sequence[Call]:
        """The same in smaller statements, so that what is wrong with one caller's part fails that one alone."""
        ...

    def settle(self, rows: list[Row]) -> None: ...

    def fail(self, error: Exception) -> None: ...


class Query:
    """One caller's statement; `done` has its rows."""

    shares: Final = True

    def __init__(self, sql: str, *values: object) -> None:
        self.sql = sql
        self._values = values
        self.done: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()

    def values(self) -> Sequence[object]:
        return self._values

    def is_wanted(self) -> bool:
        return not self.done.cancelled()

    def parts(self) -> Sequence[Call]:
        return (self,)

    def settle(self, rows: list[Row]) -> None:
        if not self.done.done():
            self.done.set_result(rows)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class _Enqueue(NamedTuple):
    """One caller's jobs, all or none of them."""

    jobs: Sequence[NewJob]
    max_attempts: int
    done: asyncio.Future[list[Enqueued]]


class EnqueueCall:
    """The jobs of many callers. A cancelled caller's are stored whole or not at all."""

    sql: Final = """
        SELECT ids, duplicates, joined FROM queue_enqueue(%s, %s, %s, %s, %s::smallint[], %s, %s::integer[], %s::uuid[],
            %s::text[], %s::text[], %s::bigint[])
    """
    shares: Final = False  # its commit is flushed, and others do not wait for that

    def __init__(self, now: int | None, lanes: Iterator[str], *callers: _Enqueue) -> None:
        self._now = now
        self._lanes = lanes
        self._callers = list(callers)
        self._size = sum(len(caller.jobs) for caller in callers)
        self._sent = False

    @property
    def is_open(self) -> bool:
        return not self._sent and self._size < MOST_JOBS

    def add(self, jobs: Sequence[NewJob], max_attempts: int) -> asyncio.Future[list[Enqueued]]:
        caller = _Enqueue(jobs, max_attempts, asyncio.get_running_loop().create_future())
        self._callers.append(caller)
        self._size += len(jobs)
        return caller.done

    def values(self) -> Sequence[object]:
        self._sent = True
        self._callers = [caller for caller in self._callers if not caller.done.cancelled()]
        jobs = [job for caller in self._callers for job in caller.jobs]
        return (
            self._now,
            [next(self._lanes) if job.ordering_key is None else stored_key(job.ordering_key) for job in jobs],
            [stored_key(job.kind) for job in jobs],
            [stored_json(job.payload) for job in jobs],
            [job.priority for job in jobs],
            [round(job.delay * 1000) for job in jobs],
            [job.max_attempts or caller.max_attempts for caller in self._callers for job in caller.jobs],
            [None if job.dedup_key is None else _digest(job.dedup_key) for job in jobs],
            [stored_key(job.dedup_key) for job in jobs],
            [stored_key(job.waiting_key) for job in jobs],
            [None if job.start_within is None else round(job.start_within * 1000) for job in jobs],
        )

    def is_wanted(self) -> bool:
        return not all(caller.done.cancelled() for caller in self._callers)

    def parts(self) -> Sequence[Call]:
        if len(self._callers) == 1:
            return (self,)
        return [EnqueueCall(self._now, self._lanes, caller) for caller in self._callers]

    def settle(self, rows: list[Row]) -> None:
        [(ids, duplicates, joined)] = rows
        no = [False] * sum(len(caller.jobs) for caller in self._callers)
        results = map(Enqueued, map(str, ids or ()), duplicates or no, joined or no)
        for caller in self._callers:
            of_caller = [next(results) for _ in caller.jobs]
            if not caller.done.done():
                caller.done.set_result(of_caller)

    def fail(self, error: Exception) -> None:
        for caller in self._callers:
            if not caller.done.done():
                caller.done.set_exception(error)


class _Ack(NamedTuple):
    claim: Claim
    forget: bool
    done: asyncio.Future[bool]  #: whether the lane stands


class AckCall:
    """The acks of many claims."""

    sql: Final = "SELECT receipt, stands FROM queue_ack(%s, %s, %s, %s::bigint[], %s::bigint[])"
    shares: Final = True

    def __init__(self, now: int | None, *acks: _Ack) -> None:
        self._now = now
        self._acks = {ack.claim.receipt: ack for ack in acks}
        self._sent = False

    def takes(self, claim: Claim) -> bool:
        """Of two acks of one claim the second is lost: it comes after the first."""
        return not self._sent and len(self._acks) < MOST_ACKS and claim.receipt not in self._acks

    def add(self, claim: Claim, *, forget: bool) -> asyncio.Future[bool]:
        ack = _Ack(claim, forget, asyncio.get_running_loop().create_future())
        self._acks[claim.receipt] = ack
        return ack.done

    def values(self) -> Sequence[object]:
        self._sent = True
        acks = [ack for ack in self._acks.values() if not ack.done.cancelled()]
        return (
            self._now,
            [stored_key(ack.claim.lane) for ack in acks],
            [ack.claim.receipt for ack in acks],
            [int(job.id) for ack in acks if not ack.forget for job in ack.claim.jobs],
            [int(job.id) for ack in acks if ack.forget for job in ack.claim.jobs],
        )

    def is_wanted(self) -> bool:
        return not all(ack.done.cancelled() for ack in self._acks.values())

    def parts(self) -> Sequence[Call]:
        return (self,) if len(self._acks) == 1 else [AckCall(self._now, ack) for ack in self._acks.values()]

    def settle(self, rows: list[Row]) -> None:
        stands: dict[str, bool] = dict(rows)
        for receipt, ack in self._acks.items():
            if ack.done.done():
                continue
            if receipt in stands:
                ack.done.set_result(stands[receipt])
            else:
                ack.done.set_exception(LeaseLost())

    def fail(self, error: Exception) -> None:
        for ack in self._acks.values():
            if not ack.done.done():
                ack.done.set_exception(error)


class Notify:
    """Wakes the workers that listen; whatever makes work due until it is sent is covered by it.

    Its commit is a transaction of its own, which waits for no flush: it holds a lock over the whole server.
    """

    sql: Final = "SELECT set_config('synchronous_commit', 'off', true), pg_notify(%s, '')"
    shares: Final = False

    def __init__(self, channel: str) -> None:
        self._channel = channel
        self.is_open = True

    def values(self) -> Sequence[object]:
        self.is_open = False
        return (self._channel,)

    def is_wanted(self) -> bool:
        return True

    def parts(self) -> Sequence[Call]:
        return (self,)

    def settle(self, rows: list[Row]) -> None:
        pass

    def fail(self, error: Exception) -> None:
        """A hint: workers look from time to time."""


def _digest(dedup_key: str) -> uuid.UUID:
    return uuid.UUID(bytes=blake2b(dedup_key.encode(), digest_size=16).digest())
