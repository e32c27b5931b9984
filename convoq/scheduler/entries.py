"""What to enqueue and when: convoq's own entries and those of the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any, Final, Literal

from pydantic import ValidationError

from convoq.clock import Clock
from convoq.errors import ConfigError
from convoq.jobs import (
    NORMAL,
    UPKEEP,
    CatchUp,
    Housekeeping,
    NewJob,
    ProcessExpired,
    ProcessHandovers,
    ProcessIdle,
    WakeThreads,
    raw_job,
)  # fmt: skip
from convoq.scheduler.times import Cron, Every
from convoq.settings import ScheduleSettings
from convoq.zones import zone_named

ON_TIME_MS: Final = 60_000  #: a run that begins no later than this was not missed
MAX_STALENESS_MS: Final = 7 * 86_400_000  #: older slots are dropped. Dedup keys live longer, so none can run twice.


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleEntry:
    """What to enqueue and when. Give `every` (seconds) or `cron` (five fields, read in `timezone`).

    `missed` says what becomes of slots whose run could not begin in time, because no scheduler or no worker ran or the
    run before took too long: the latest one runs ("once", unless it is more than a week old) or none does ("skip"). At
    most one run waits, and unless they may `overlap` it begins when the one before has ended. Raises ConfigError, one
    line naming the entry, for what cannot work.
    """

    name: str
    kind: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    every: float | None = None
    cron: str | None = None
    timezone: str = "UTC"
    missed: Literal["once", "skip"] = "once"
    overlap: bool = False
    ordering_key: str | None = None
    priority: int = NORMAL
    times: Every | Cron = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "times", self._times())
            self.job_now()
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)  # a payload may hold personal data
            said = "; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg'].lower()}" for detail in details)
            raise ConfigError(f'schedule "{self.name}": bad payload for {self.kind}: {said}') from error
        except ValueError as error:
            raise ConfigError(f'schedule "{self.name}": {error}') from error

    def _times(self) -> Every | Cron:
        if self.every is not None and self.cron is None:
            return Every(self.every)
        if self.cron is not None and self.every is None:
            return Cron(self.cron, self.timezone)
        raise ValueError("give either every (seconds) or cron (five fields)")

    @property
    def waiting_key(self) -> str:
        """Of all its jobs: while one waits, no other is added."""
        return f"schedule:{self.name}"

    @property
    def oldest_age_ms(self) -> int:
        """How long after its slot a run may begin."""
        return ON_TIME_MS if self.missed == "skip" else MAX_STALENESS_MS

    def job(self, slot: int, *, now: int) -> NewJob:
        """The job of one slot, to be enqueued now. Its dedup key is the slot's identity."""
        left = max(0, slot + self.oldest_age_ms - now)
        return replace(self.job_now(), dedup_key=f"{self.waiting_key}@{slot}", start_within=left / 1000)

    def job_now(self) -> NewJob:
        """A job of no slot, which runs however late."""
        alone = None if self.overlap else f"schedule|{self.name}"
        job = raw_job(self.kind, dict(self.payload), ordering_key=self.ordering_key or alone, priority=self.priority)
        return replace(job, waiting_key=self.waiting_key)


def entries_from(schedules: Sequence[ScheduleSettings] = ()) -> tuple[ScheduleEntry, ...]:
    """convoq's own entries and those of the settings. Raises ConfigError naming the entry that cannot work."""
    entries = {entry.name: entry for entry in built_in()}
    own = frozenset(entries)
    for schedule in schedules:
        if schedule.name in own:
            raise ConfigError(f'schedule "{schedule.name}": the name is taken by convoq itself; choose another')
        if schedule.name in entries:
            raise ConfigError(f'schedule "{schedule.name}": there are two of that name; rename one')
        entries[schedule.name] = ScheduleEntry(**schedule.model_dump())
    return tuple(entries.values())


def built_in() -> tuple[ScheduleEntry, ...]:
    """convoq's own upkeep. Each kind has one lane, so two runs of it never overlap."""
    periods = {
        ProcessIdle: 60.0, ProcessExpired: 300.0, ProcessHandovers: 30.0, WakeThreads: 60.0, CatchUp: 600.0,
        Housekeeping: 3600.0,
    }  # fmt: skip
    return tuple(
        ScheduleEntry(name=model.kind, kind=model.kind, every=every, ordering_key=model.kind, priority=UPKEEP)
        for model, every in periods.items()
    )


def next_runs(entry: ScheduleEntry, count: int, *, queue_clock: Clock, wall_clock: Clock) -> list[datetime]:
    """The entry's next `count` runs as the wall clock will show them, in the entry's zone. Fewer if there are fewer."""
    if isinstance(entry.times, Cron):
        slots, ahead, zone = entry.times.after(wall_clock.now()), 0, entry.times.zone
    else:
        now = queue_clock.now()
        slots, ahead, zone = entry.times.after(now), wall_clock.now() - now, zone_named(entry.timezone)
    return [datetime.fromtimestamp((slot + ahead) / 1000, zone) for slot in islice(slots, count)]
