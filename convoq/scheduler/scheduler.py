"""Turns time into jobs: enqueues every entry's slots, each at most once, and runs nothing itself."""

from __future__ import annotations

import asyncio
import difflib
import sqlite3
import zoneinfo
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from pydantic import ValidationError

from convoq.clock import Clock
from convoq.errors import ConfigError, DatabaseUnavailable
from convoq.jobs import NORMAL, UPKEEP, Housekeeping, NewJob, ProcessExpired, ProcessIdle, raw_job
from convoq.logs import log
from convoq.queue.base import Enqueuer
from convoq.settings import ScheduleSettings

if TYPE_CHECKING:
    from convoq.db import Database

LONGEST_SLEEP: Final = 30.0  #: seconds; how late a stepped clock or a resumed machine may be noticed
FIRST_RETRY: Final = 0.25  #: seconds; doubles up to LAST_RETRY while the database cannot be written
LAST_RETRY: Final = 5.0
ON_TIME: Final = 60_000  #: ms; a slot that is no older than this was not missed
MAX_STALENESS: Final = 7 * 86_400_000  #: ms; older slots are dropped. Dedup keys live longer, so none can run twice.


class Scheduler:
    """Each slot of an entry becomes at most one job, whatever the number of schedulers, restarts and clock steps.

    Slots of `every` are counted on the queue's clock, which never jumps; slots of `cron` are wall clock times in the
    entry's zone. What was dealt with is in the ledger, so a missed slot is known as missed after any downtime. An
    entry that the ledger does not know, or knows with another spec, starts now and never fires for the past.
    """

    def __init__(
        self, enqueuer: Enqueuer, entries: Iterable[Entry], ledger: Ledger, *, queue_clock: Clock, wall_clock: Clock
    ) -> None:
        self._enqueuer = enqueuer
        self._entries = {entry.name: entry for entry in entries}
        self._ledger = ledger
        self._queue_clock = queue_clock
        self._wall_clock = wall_clock
        self._courses: dict[str, _Course] = {}
        self._failures: dict[str, int] = {}

    async def run(self, stopping: asyncio.Event) -> None:
        """Enqueues slots as they come until `stopping` is set; a database that cannot be written is waited for."""
        log.info("scheduler.started", entries=list(self._entries))
        while not stopping.is_set():
            wait = await self.tick()
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), wait)

    async def tick(self) -> float:
        """Enqueues what is due now and returns after how many seconds to come again, at most LONGEST_SLEEP.

        A DatabaseUnavailable is retried by the next tick. Anything else is raised, once every entry had its turn.
        """
        # Side by side: one entry's trouble holds up no other, and what is due together shares one commit.
        waits = await asyncio.gather(*map(self._step, self._entries.values()), return_exceptions=True)
        for wait in waits:
            if isinstance(wait, BaseException):
                raise wait
        return min([LONGEST_SLEEP, *(wait for wait in waits if isinstance(wait, float))])

    async def _step(self, entry: Entry) -> float:
        try:
            course = self._courses.get(entry.name) or await self._begin(entry)
            await self._follow(course)
        except DatabaseUnavailable as error:
            return self._retry_after(entry, error)
        self._failures.pop(entry.name, None)
        return max(0, course.next_slot - course.clock.now()) / 1000

    def _retry_after(self, entry: Entry, error: DatabaseUnavailable) -> float:
        failures = self._failures[entry.name] = self._failures.get(entry.name, 0) + 1
        delay = min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(failures - 1, 10))
        log.warning("schedule.enqueue_failed", name=entry.name, failures=failures, retry_in=delay, error=str(error))
        return delay

    async def _begin(self, entry: Entry) -> _Course:
        clock = self._queue_clock if isinstance(entry.times, Every) else self._wall_clock
        known = await self._ledger.last(entry.name)
        if known is not None and known[0] == entry.times.spec:
            dealt_with = known[1]
        else:
            dealt_with = clock.now()
            await self._ledger.record(entry.name, entry.times.spec, dealt_with)
        course = self._courses[entry.name] = _Course(entry, clock, dealt_with)
        return course

    async def _follow(self, course: _Course) -> None:
        now = course.clock.now()
        if course.owed is None and now < course.dealt_with:
            await self._turn_back(course, now)
        if course.owed is None and now >= course.next_slot:
            course.owed = self._choose(course, now)
            if course.owed is None:
                await self._settle(course, now)
        if course.owed is not None:
            await self._enqueue(course, course.owed)

    async def _turn_back(self, course: _Course, now: int) -> None:
        # Waiting for the clock to catch up would silence the entry for days. Slots that come round again are
        # duplicates to the queue.
        log.info("schedule.clock_turned_back", name=course.entry.name, by=(course.dealt_with - now) / 1000)
        await self._settle(course, now)

    def _choose(self, course: _Course, now: int) -> int | None:
        """The one slot to run of those that passed: the latest, unless its time is over."""
        entry, first = course.entry, course.next_slot
        slot = entry.times.latest(now, after=max(course.dealt_with, now - MAX_STALENESS))
        if slot is not None and entry.missed == "skip" and now - slot > ON_TIME:
            slot = None
        if slot != first:
            # Upkeep makes up for anything by running once, so nobody needs to be told.
            note = log.debug if entry.priority == UPKEEP else log.warning
            note("schedule.missed", name=entry.name, first=_text(first), runs=None if slot is None else _text(slot))
        return slot

    async def _enqueue(self, course: _Course, slot: int) -> None:
        # The order matters: a crash in between enqueues the slot again, which the queue knows as a duplicate.
        enqueued = await self._enqueuer.enqueue(course.entry.job(slot))
        await self._settle(course, slot)
        quiet = enqueued.duplicate or course.entry.priority == UPKEEP
        note = log.debug if quiet else log.info
        note(
            "schedule.enqueued",
            name=course.entry.name,
            slot=_text(slot),
            job_id=enqueued.job_id,
            duplicate=enqueued.duplicate,
        )

    async def _settle(self, course: _Course, moment: int) -> None:
        await self._ledger.record(course.entry.name, course.entry.times.spec, moment)
        course.settle(moment)


class _Course:
    """How far one entry has come."""

    def __init__(self, entry: Entry, clock: Clock, dealt_with: int) -> None:
        self.entry = entry
        self.clock = clock
        self.settle(dealt_with)

    def settle(self, moment: int) -> None:
        """Everything up to `moment` is dealt with."""
        self.dealt_with = moment
        self.next_slot = next(self.entry.times.after(moment))
        self.owed: int | None = None  #: chosen to run, but not yet in the queue


class Ledger(Protocol):
    """Remembers for each entry up to where its slots are dealt with."""

    async def last(self, name: str) -> tuple[str, int] | None:
        """The spec and the moment (ms) of the latest record, or None."""
        ...

    async def record(self, name: str, spec: str, slot: int) -> None:
        """Every slot up to `slot` is dealt with. Raises DatabaseUnavailable when it could not be written."""
        ...


class SqlLedger:
    """The ledger in convoq's database, shared by every scheduler on it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def last(self, name: str) -> tuple[str, int] | None:
        def select(connection: sqlite3.Connection) -> tuple[str, int] | None:
            row = connection.execute("SELECT spec, last_slot FROM schedules WHERE name = ?", (name,)).fetchone()
            return None if row is None else (row[0], row[1])

        return await self._database.read(select)

    async def record(self, name: str, spec: str, slot: int) -> None:
        def upsert(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO schedules (name, spec, last_slot) VALUES (:name, :spec, :slot) "
                "ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, last_slot = excluded.last_slot",
                {"name": name, "spec": spec, "slot": slot},
            )

        # Not flushed by itself: after a power cut the slot is enqueued again, and the queue knows it as a duplicate.
        await self._database.write(upsert, durable=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What to enqueue and when. Give `every` (seconds) or `cron` (five fields, read in `timezone`).

    `missed` says what becomes of slots that passed while no scheduler ran: the latest one runs ("once", unless it is
    more than a week old) or none does ("skip"). Raises ConfigError, one line naming the entry, for what cannot work.
    """

    name: str
    kind: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    every: float | None = None
    cron: str | None = None
    timezone: str = "UTC"
    missed: Literal["once", "skip"] = "once"
    ordering_key: str | None = None
    priority: int = NORMAL
    times: Every | Cron = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "times", self._times())
            self.job(0)
        except ValidationError as error:
            raise ConfigError(f'schedule "{self.name}": bad payload for {self.kind}: {_complaints(error)}') from error
        except ValueError as error:
            raise ConfigError(f'schedule "{self.name}": {error}') from error

    def _times(self) -> Every | Cron:
        if self.every is not None and self.cron is None:
            return Every(self.every)
        if self.cron is not None and self.every is None:
            return Cron(self.cron, self.timezone)
        raise ValueError("give either every (seconds) or cron (five fields)")

    def job(self, slot: int) -> NewJob:
        """The job of one slot. Its dedup key is the slot's identity."""
        return raw_job(
            self.kind,
            dict(self.payload),
            ordering_key=self.ordering_key,
            dedup_key=f"schedule:{self.name}@{slot}",
            priority=self.priority,
        )


def entries_from(schedules: Sequence[ScheduleSettings] = ()) -> tuple[Entry, ...]:
    """convoq's own entries and those of the settings. Raises ConfigError naming the entry that cannot work."""
    entries = {entry.name: entry for entry in built_in()}
    own = frozenset(entries)
    for schedule in schedules:
        if schedule.name in own:
            raise ConfigError(f'schedule "{schedule.name}": the name is taken by convoq itself; choose another')
        if schedule.name in entries:
            raise ConfigError(f'schedule "{schedule.name}": there are two of that name; rename one')
        entries[schedule.name] = Entry(**schedule.model_dump())
    return tuple(entries.values())


def built_in() -> tuple[Entry, ...]:
    """convoq's own upkeep. Each kind has one lane, so two runs of it never overlap."""
    periods = {ProcessIdle.kind: 60.0, ProcessExpired.kind: 300.0, Housekeeping.kind: 3600.0}
    return tuple(
        Entry(name=kind, kind=kind, every=every, ordering_key=kind, priority=UPKEEP) for kind, every in periods.items()
    )


def next_runs(entry: Entry, count: int, *, queue_clock: Clock, wall_clock: Clock) -> list[datetime]:
    """The entry's next `count` runs as the wall clock will show them, in the entry's zone. Fewer if there are fewer."""
    if isinstance(entry.times, Cron):
        slots, ahead, zone = entry.times.after(wall_clock.now()), 0, entry.times.zone
    else:
        now = queue_clock.now()
        slots, ahead, zone = entry.times.after(now), wall_clock.now() - now, _zone(entry.timezone)
    return [datetime.fromtimestamp((slot + ahead) / 1000, zone) for slot in islice(slots, count)]


class Every:
    """Slots at whole multiples of a period, so that every scheduler counts the same ones."""

    def __init__(self, seconds: float) -> None:
        if not 1 <= seconds <= 366 * 86400:
            raise ValueError(f"every = {seconds:g} is out of range: give 1 second to 366 days, or use cron")
        self.period = round(seconds * 1000)
        self.spec = f"every {self.period} ms"

    def after(self, moment: int) -> Iterator[int]:
        """The slots later than `moment`, in order."""
        slot = moment // self.period * self.period
        while True:
            slot += self.period
            yield slot

    def latest(self, now: int, *, after: int) -> int | None:
        """The last slot up to `now` that is later than `after`."""
        slot = now // self.period * self.period
        return slot if slot > after else None


class Cron:
    """Slots of a calendar in one time zone, with the rules of Debian's cron when the clocks change.

    A job at a fixed time runs once on both days: in spring at the end of a skipped hour, in autumn the first time
    its hour comes. A job with a `*` in minute or hour follows the hours that really pass.
    """

    def __init__(self, expression: str, timezone: str) -> None:
        self.expression = " ".join(expression.split())
        self.zone = _zone(timezone)
        self.spec = f"cron {self.expression} {timezone}"
        self._check()

    def _check(self) -> None:
        from cronsim import CronSimError

        if len(self.expression.split()) != 5:
            raise ValueError(f'bad cron "{self.expression}": five fields: minute hour day month weekday')
        try:
            first = next(self.after(0), None)
        except CronSimError as error:
            raise ValueError(f'bad cron "{self.expression}": {str(error).lower()}') from error
        if first is None:
            raise ValueError(f'bad cron "{self.expression}": there is no such day')

    def after(self, moment: int) -> Iterator[int]:
        """The slots later than `moment`, in order."""
        from cronsim import CronSim

        previous = moment
        for at in CronSim(self.expression, datetime.fromtimestamp(moment // 1000, self.zone)):
            slot = int(at.timestamp()) * 1000
            # Where an hour is skipped or repeated, cronsim names an instant twice or one that is over.
            if slot > previous:
                yield slot
                previous = slot

    def latest(self, now: int, *, after: int) -> int | None:
        """The last slot up to `now` that is later than `after`."""
        # Widening windows, because a week of a job that runs every minute is ten thousand slots.
        # Looking backwards with cronsim is no way out: within a repeated hour it misses slots.
        for window in (3_600_000, 86_400_000, now - after):
            start = max(after, now - window)
            passed = deque(takewhile(lambda slot: slot <= now, self.after(start)), maxlen=1)
            if passed or start == after:
                break
        return passed[0] if passed else None


def _complaints(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_input=False)  # a payload may hold what is nobody's business
    return "; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg'].lower()}" for detail in details)


def _zone(name: str) -> tzinfo:
    if name.upper() == "UTC":
        return UTC  # known also where no zone files are installed
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f'unknown timezone "{name}"{_advice(name)}') from error


def _advice(name: str) -> str:
    zones = zoneinfo.available_timezones()
    if not zones:
        return ": no time zones are installed here; install the package tzdata"
    by_lowercase = {zone.lower(): zone for zone in sorted(zones)}
    close = difflib.get_close_matches(name.lower().replace(" ", "_"), by_lowercase, n=1)
    return f"; did you mean {by_lowercase[close[0]]}?" if close else '; write it like "Europe/Madrid"'


def _text(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="seconds")
