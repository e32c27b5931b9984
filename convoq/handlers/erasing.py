"""Erases a person from the store and from the queue, whatever is under way; what it is asked for twice it does once."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from convoq.clock import Clock
from convoq.conversations.erasing import Erasing, Person
from convoq.conversations.erasures import Erasures
from convoq.conversations.text_index import TextIndex
from convoq.errors import Snooze
from convoq.handlers.base import ClaimContext, Handler
from convoq.handlers.receive import enqueue_turns
from convoq.jobs import ReceiveMessage, SendMessage
from convoq.logs import log
from convoq.phone import mentions
from convoq.queue.base import JobAdmin, JobFilter, JobRecord
from convoq.queue.following import BeginFollowUps

HELD_UP: Final = 300.0  #: seconds
BATCH: Final = 200  # rows a transaction, so that the writer is never held long
PAGE: Final = 1000  # jobs that are read at a time
SAID: Final = (ReceiveMessage.kind, SendMessage.kind)

#: Begins an erasure under the name of who asks for it: channel, addresses, and up to when what was accepted is erased.
Begin = Callable[[str, Sequence[str], int], Awaitable[list[int]]]

Scrub = Callable[[], Awaitable[str | None]]


class Traces(NamedTuple):
    """Where a person is found."""

    person: Person
    jobs: list[JobRecord]

    def __bool__(self) -> bool:
        return self.person.is_known or bool(self.jobs)


class Erased(NamedTuple):
    """What has come of it."""

    traces: Traces
    jobs: int
    left: tuple[str, ...]  #: why files still hold what was deleted from them; empty: they don't


def erase_people(erasure: Erasure, erasures: Erasures, begin: BeginFollowUps) -> Handler:
    """Brings what was asked for to its end. While a file cannot be written anew it comes back, until it can."""

    async def handler(context: ClaimContext) -> None:
        people, left = await erasure.complete(erasures, begin, context.renew_deadline)
        if left:
            raise Snooze(HELD_UP, f"files still hold what was erased: {'; '.join(left)}")
        log.info("people.erased", count=people)

    return handler


class Erasure:
    """Finds and erases people, known by their addresses."""

    def __init__(
        self, erasing: Erasing, texts: TextIndex, jobs: JobAdmin, clock: Clock, scrub: Scrub, *, channel: str
    ) -> None:
        """`scrub` is the store's own; `channel` the one that addresses are of."""
        self._erasing = erasing
        self._texts = texts
        self._jobs = jobs
        self._clock = clock
        self._scrub_store = scrub
        self._channel = channel

    async def look(self, addresses: Sequence[str]) -> Traces:
        person = await self._erasing.look(self._channel, addresses)
        return Traces(person, await find_jobs(self._jobs, addresses, person.lanes))

    async def erase(self, addresses: Sequence[str], begin: Begin) -> Erased:
        """All that was accepted until now. What comes later is a new person's, whose STOP of before still holds.

        Killed on its way, it goes on when it is asked for again.
        """
        traces = await self.look(addresses)
        through = max([self._clock.now(), *(job.enqueued_at for job in traces.jobs)])
        begun = await begin(self._channel, addresses, through)
        # Also those that were cut off and are found no more: who came back meanwhile has the address now.
        contacts = sorted({*begun, *await self._erasing.unfinished()})
        erased_jobs = await self._erase_jobs(traces, addresses, through)
        for contact_id in contacts:
            await self._wipe(contact_id)
        left = await self._scrub()
        # Dated before, and written only now: its writer had to wait for its turn.
        if late := await self._erase_jobs(traces, addresses, through):
            erased_jobs += late
            left = await self._scrub()
        if not left:
            await self._erasing.finish(contacts)
        return Erased(traces, erased_jobs, left)

    async def complete(
        self, erasures: Erasures, begin: BeginFollowUps, renew: Callable[[], None]
    ) -> tuple[int, tuple[str, ...]]:
        """Those that have begun elsewhere: how many people, and why files still hold what was deleted from them.

        `renew` is called between two steps. Killed on its way, it goes on when it is called again.
        """
        asked = await erasures.pending()
        for erasure in asked:
            for contact_id in erasure.contacts:
                await self._wipe(contact_id)
            if erasure.addresses:
                jobs, follow_ups = await self._erase_named(erasure.addresses, erasure.through_at), begin()
                await erasures.forget_addresses(erasure, jobs, partial(enqueue_turns, follow_ups))
                await follow_ups.send()
            renew()
        left = await self._scrub() if asked else ()
        late = [await self._erase_named(one.addresses, one.through_at) for one in asked if one.addresses]
        if any(late):
            renew()
            left = await self._scrub()
        for erasure in asked if not left else ():
            await erasures.finish(erasure)
        return len(asked), left

    async def _erase_named(self, addresses: Sequence[str], through: int) -> int:
        return await self._erase(await find_jobs(self._jobs, addresses, ()), through)

    async def _wipe(self, contact_id: int) -> None:
        while await self._erasing.wipe(contact_id, BATCH):
            pass

    async def _scrub(self) -> tuple[str, ...]:
        while await self._texts.forget_erased():
            pass
        reasons = (await self._scrub_store(), await self._jobs.scrub())
        return tuple(reason for reason in reasons if reason is not None)

    async def _erase_jobs(self, traces: Traces, addresses: Sequence[str], through: int) -> int:
        """Also what was under way has enqueued until it was ended; not what came later."""
        return await self._erase(await find_jobs(self._jobs, addresses, traces.person.lanes), through)

    async def _erase(self, found: Sequence[JobRecord], through: int) -> int:
        ids = [job.id for job in found if job.enqueued_at <= through]
        return sum([await self._jobs.erase(ids[start : start + BATCH]) for start in range(0, len(ids), BATCH)])


async def find_jobs(jobs: JobAdmin, addresses: Sequence[str], lanes: Sequence[str]) -> list[JobRecord]:
    """Of every kind and state: those that name the person, however the number is spelled, and those of the person's
    lanes. All jobs are read for that, in pages."""
    patterns = {pattern.pattern: pattern for pattern in map(mentions, addresses)}.values()
    found: dict[str, JobRecord] = {}
    before: str | None = None
    while page := await jobs.list(JobFilter(), limit=PAGE, before=before):
        before = page[-1].id
        found |= {job.id: job for job in page if any(_names(job, pattern) for pattern in patterns)}
    for lane in lanes:
        found |= {job.id: job for job in await _all(jobs, JobFilter(ordering_key=lane))}
    return list(found.values())


async def _all(jobs: JobAdmin, where: JobFilter) -> list[JobRecord]:
    found: list[JobRecord] = []
    while page := await jobs.list(where, limit=BATCH, before=found[-1].id if found else None):
        found += page
    return found


def _names(job: JobRecord, pattern: re.Pattern[str]) -> bool:
    """A message from or to one person is that person's, whoever else is named in it."""
    if job.kind in SAID and job.ordering_key is not None:
        return pattern.search(job.ordering_key) is not None
    texts = (job.payload, job.error, job.ordering_key, job.dedup_key)
    return any(text is not None and pattern.search(text) for text in texts)
