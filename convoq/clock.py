"""The clocks: the queue's, which never jumps, and the wall's, which calendars look at."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from convoq.errors import PlatformUnsupported

#: How long a job waits for a model or a channel that is down before that costs it attempts.
OUTAGE_PATIENCE: Final = timedelta(hours=1)

DAY_MS: Final = 86_400_000
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
EARLIEST: Final = 1_735_689_600_000  # 2025-01-01: a clock that tells an earlier time is wrong
SAVED_CLOCK_AGE: Final = 7_200_000  # fake-hwclock saves the time once an hour, and a boot begins with what was saved
UNNOTICED_SHIFT: Final = 60_000  # what wall clocks drift in a boot
COMPARE_EVERY: Final = 60_000
LONGEST_DRIFT: Final = 10_000  # that is caught up with little by little
SLEW_DIVISOR: Final = 100


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
    The anchor (wall minus boot time, written beside the boot id by the first process after a boot) makes its numbers
    readable as dates; continue_clock says what becomes of a wall clock that was wrong.
    """

    def __init__(self, anchor: int) -> None:
        self.anchor = anchor

    def now(self) -> int:
        return self.anchor + since_boot()


class Comparison(NamedTuple):
    """This machine's time and an engine's, held against each other. In ms."""

    at: int  #: since boot
    offset: int  #: from there to what the clock showed
    behind: int  #: and from that to the engine's time


class EngineClock:
    """The queue's clock where an engine keeps the time for all machines: all show the same, to a few ms.

    Between two comparisons it goes on with this machine's time since boot. A difference is caught up with by 1 % of the
    time that passes, so that it never goes back; one that no drift explains is taken over at once.
    """

    def __init__(self) -> None:
        self._last: Comparison | None = None

    @property
    def is_stale(self) -> bool:
        """Whether it is to be compared with the engine's again."""
        return self._last is None or since_boot() - self._last.at >= COMPARE_EVERY

    def now(self) -> int:
        local = since_boot()
        return local + self._offset(local)

    def compare(self, engine: int, *, asked: int, answered: int) -> None:
        """`engine` is the time that it told between these two of this machine (ms since boot)."""
        offset, wanted = self._offset(answered), engine - (asked + answered) // 2
        behind = wanted - offset
        if self._last is None or abs(behind) > LONGEST_DRIFT:
            offset, behind = wanted, 0
        elif abs(behind) <= (answered - asked) // 2:
            behind = 0  # the way there and back explains it
        self._last = Comparison(answered, offset, behind)

    def _offset(self, local: int) -> int:
        if self._last is None:
            return 0
        caught_up = max(0, local - self._last.at) // SLEW_DIVISOR
        return self._last.offset + max(-caught_up, min(caught_up, self._last.behind))


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """A boot of this machine, as it is now. Times are ms."""

    id: str
    age: int  #: since it began
    wall: int

    @classmethod
    def current(cls) -> Boot:
        """Raises PlatformUnsupported where the kernel tells neither."""
        return cls(id=boot_id(), age=since_boot(), wall=WallClock().now())


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSeen:
    """Both clocks at one moment of an earlier boot, the last that is known. Times are ms."""

    queue: int
    wall: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """What the queue's clock shows at a new boot, and by how much that differs from the time that has elapsed."""

    now: int
    shift: int  #: what was due or recorded by the earlier boot's clock is moved by this


def continue_clock(last: LastSeen | None, wall: int) -> Continuation:
    """The queue's clock follows the wall clock of each new boot, and what waits keeps the time that it had left.

    So a boot with a wrong date is over at the next right one, in either direction. A wall clock that cannot be right,
    or was saved a while ago (machines without a battery), counts as the latest time that is known.
    """
    if last is None:
        return Continuation(now=wall, shift=0)
    if wall < EARLIEST or last.wall - SAVED_CLOCK_AGE < wall < last.wall:
        wall = max(wall, last.wall)
    if wall < EARLIEST:  # it never was right since
        return Continuation(now=last.queue, shift=0)
    elapsed = wall - last.wall if EARLIEST <= last.wall <= wall else 0
    shift = wall - (last.queue + elapsed)
    return Continuation(now=wall, shift=shift if abs(shift) > UNNOTICED_SHIFT else 0)


def since_boot() -> int:
    """Milliseconds since this machine booted, sleep included (CLOCK_BOOTTIME, Linux). Raises PlatformUnsupported."""
    try:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
    except (AttributeError, OSError):
        raise PlatformUnsupported("this system has no CLOCK_BOOTTIME, the queue's clock: run convoq on Linux") from None


def boot_id() -> str:
    """A name for this boot of the machine. Raises PlatformUnsupported."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError as error:
        reason = f"{BOOT_ID}: {error.strerror}"
        raise PlatformUnsupported(f"{reason}: the queue's clock needs it: run convoq on Linux, with /proc") from None
