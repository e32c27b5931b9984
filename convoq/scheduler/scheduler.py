"""Turns time into jobs: enqueues every entry's slots, each at most once, and runs nothing itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from convoq.clock import Clock
from convoq.errors import DatabaseUnavailable
from convoq.jobs import UPKEEP
from convoq.logs import log
from convoq.queue.base import Enqueuer
from convoq.scheduler.entries import ScheduleEntry
from convoq.scheduler.progress import Look, Progress
from convoq.scheduler.times import Every

LONGEST_SLEEP: Final = 30.0  #: how late a stepped clock or a resumed machine may be noticed
FIRST_RETRY: Final = 0.25  #: doubles up to LAST_RETRY while the database cannot be written
LAST_RETRY: Final = 5.0


class Scheduler:
    """Each slot of an entry becomes at most one job, whatever the number of schedulers, restarts and clock steps.

    Slots of `every` are counted on the queue's clock, which never jumps; slots of `cron` are wall clock times in the
    entry's zone. What is done is in the progress, so a missed slot is known as missed after any downtime. An
    entry that the progress does not know, or knows with another spec, starts now and never fires for the past: nor
    does one that was taken out and put back, or paused and resumed.
    """

    def __init__(
        self,
        enqueuer: Enqueuer,
        entries: Iterable[ScheduleEntry],
        progress: Progress,
        *,
        queue_clock: Clock,
        wall_clock: Clock,
    ) -> None:
        self._enqueuer = enqueuer
        self._entries = {entry.name: entry for entry in entries}
        self._progress = progress
        self._queue_clock = queue_clock
        self._wall_clock = wall_clock
        self._known: dict[str, _EntryProgress] = {}
        self._failures: dict[str, int] = {}
        self._paused: frozenset[str] = frozenset()
        self._replaced = asyncio.Event()

    async def run(self, stopping: asyncio.Event) -> None:
        """Enqueues slots as they come until `stopping` is set; a database that cannot be written is waited for."""
        log.info("scheduler.started", entries=list(self._entries))
        while not stopping.is_set():
            self._replaced.clear()
            wait = await self.tick()
            await _any_set(stopping, self._replaced, timeout=wait)

    def replace(self, entries: Iterable[ScheduleEntry]) -> None:
        """From now on these are the entries. One whose spec stays goes on where it is; a new one starts now."""
        self._entries = {entry.name: entry for entry in entries}
        self._replaced.set()

    async def tick(self) -> float:
        """Enqueues what is due now and returns after how many seconds to come again, at most LONGEST_SLEEP.

        A DatabaseUnavailable is retried by the next tick. Anything else is raised, once every entry had its turn.
        """
        try:
            await self._forget_removed(await self._look())
        except DatabaseUnavailable as error:
            return self._retry_after("schedule.progress_unread", "", error)
        self._failures.pop("", None)
        # Side by side: one entry's trouble holds up no other, and what is due together shares one commit.
        waits = await asyncio.gather(*map(self._advance, self._entries.values()), return_exceptions=True)
        for wait in waits:
            if isinstance(wait, BaseException):
                raise wait
        return min([LONGEST_SLEEP, *(wait for wait in waits if isinstance(wait, float))])

    async def _look(self) -> Look:
        look = await self._progress.look()
        if paused := sorted(self._entries.keys() & look.paused - self._paused):
            log.info("schedule.paused", names=paused)
        if resumed := sorted(self._entries.keys() & self._paused - look.paused):
            log.info("schedule.resumed", names=resumed)
        self._paused = look.paused
        return look

    async def _forget_removed(self, look: Look) -> None:
        """An entry that is put back later starts then."""
        if removed := look.recorded - self._entries.keys():
            await self._progress.forget(removed)
            for name in removed:
                self._known.pop(name, None)

    async def _advance(self, entry: ScheduleEntry) -> float:
        """Seconds until the entry's next slot, or until it should be tried again."""
        if entry.name in self._paused:
            self._known.pop(entry.name, None)  # its end records from when on slots count
            now = self._clock_of(entry).now()
            return (next(entry.times.after(now)) - now) / 1000
        try:
            known = self._known.get(entry.name)
            if known is None or known.entry is not entry:
                known = await self._load(entry)
            await self._enqueue_due(known)
        except DatabaseUnavailable as error:
            return self._retry_after("schedule.enqueue_failed", entry.name, error)
        self._failures.pop(entry.name, None)
        return max(0, known.next_slot - known.clock.now()) / 1000

    def _retry_after(self, event: str, name: str, error: DatabaseUnavailable) -> float:
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        delay = min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(failures - 1, 10))
        log.warning(event, name=name, failures=failures, retry_in=delay, error=str(error))
        return delay

    def _clock_of(self, entry: ScheduleEntry) -> Clock:
        return self._queue_clock if isinstance(entry.times, Every) else self._wall_clock

    async def _load(self, entry: ScheduleEntry) -> _EntryProgress:
        clock = self._clock_of(entry)
        last = await self._progress.last(entry.name)
        if last is not None and last[0] == entry.times.spec:
            done_through = last[1]
        else:
            done_through = clock.now()
            await self._progress.record(entry.name, entry.times.spec, done_through)
        loaded = self._known[entry.name] = _EntryProgress(entry, clock, done_through)
        return loaded

    async def _enqueue_due(self, known: _EntryProgress) -> None:
        now = known.clock.now()
        if known.pending_slot is None and now < known.done_through:
            # Waiting for the clock to catch up would silence the entry for days. Slots that come round again are
            # duplicates to the queue.
            log.info("schedule.clock_turned_back", name=known.entry.name, by=(known.done_through - now) / 1000)
            await self._record(known, now)
        if now >= known.next_slot and (known.pending_slot is None or known.is_over(known.pending_slot)):
            known.pending_slot = self._slot_to_run(known, now)
            if known.pending_slot is None:
                await self._record(known, now)
        if known.pending_slot is not None:
            await self._enqueue(known, known.pending_slot, now)

    def _slot_to_run(self, known: _EntryProgress, now: int) -> int | None:
        """The one slot to run of those that passed: the latest, unless its time is over."""
        entry, first = known.entry, known.next_slot
        slot = entry.times.latest(now, after=max(known.done_through, now - entry.oldest_age_ms - 1))
        if slot != first:
            # Upkeep makes up for anything by running once: a missed run of it is no news.
            note = log.debug if entry.priority == UPKEEP else log.warning
            note("schedule.missed", name=entry.name, first=_iso(first), runs=None if slot is None else _iso(slot))
        return slot

    async def _enqueue(self, known: _EntryProgress, slot: int, now: int) -> None:
        # The order matters: a crash in between enqueues the slot again, which the queue knows as a duplicate.
        enqueued = await self._enqueuer.enqueue(known.entry.job(slot, now=now))
        await self._record(known, slot)
        quiet = enqueued.duplicate or known.entry.priority == UPKEEP
        note = log.debug if quiet else log.info
        note(
            "schedule.joined" if enqueued.joined else "schedule.enqueued",
            name=known.entry.name,
            slot=_iso(slot),
            job_id=enqueued.job_id,
            duplicate=enqueued.duplicate,
        )

    async def _record(self, known: _EntryProgress, moment: int) -> None:
        await self._progress.record(known.entry.name, known.entry.times.spec, moment)
        known.move_to(moment)


class _EntryProgress:
    """How far one entry has come, as this scheduler has read or recorded it."""

    def __init__(self, entry: ScheduleEntry, clock: Clock, done_through: int) -> None:
        self.entry = entry
        self.clock = clock
        self.move_to(done_through)

    def is_over(self, slot: int) -> bool:
        """Whether it is too late for a run of this slot to begin."""
        return self.clock.now() - slot > self.entry.oldest_age_ms

    def move_to(self, moment: int) -> None:
        """Everything up to `moment` is done."""
        self.done_through = moment
        self.next_slot = next(self.entry.times.after(moment))
        self.pending_slot: int | None = None  #: chosen to run, but not yet in the queue


async def _any_set(*events: asyncio.Event, timeout: float) -> None:
    """Returns when one of the events is set, or after `timeout` seconds."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()


def _iso(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="seconds")
