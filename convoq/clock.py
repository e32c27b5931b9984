"""The two clocks: the queue's, which never jumps, and the wall's, which calendars look at."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Final, Protocol

#: How long a job waits for a model or a channel that is down before that costs it attempts.
OUTAGE_PATIENCE: Final = timedelta(hours=1)


class Clock(Protocol):
    """Tells the time in whole milliseconds since 1970."""

    def now(self) -> int: ...


class WallClock:
    """The time people see. It may jump: only calendar schedules and texts for people use it."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000


class BootClock:
    """The queue's clock: time since boot plus an anchor that every process of this machine shares.

    It never jumps while the machine is up, so a corrected wall clock neither strands a claim nor ends one early.
    The anchor (wall minus boot time, written beside the boot id by the first process after a boot) only makes its
    numbers readable as dates.
    """

    def __init__(self, anchor: int) -> None:
        self.anchor = anchor

    def now(self) -> int:
        return self.anchor + since_boot()


def since_boot() -> int:
    """Milliseconds since this machine booted, sleep included (CLOCK_BOOTTIME, Linux)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def boot_id() -> str:
    """A name for this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
