"""When the lines of a conversation were written, in words that a model reads."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Final

from convoq.ai.base import Author, ContextLine
from convoq.ai.context import Window
from convoq.clock import EARLIEST
from convoq.text import counted

#: What is written within this time needs no other date than the line before it.
SAME_TIME: Final = dt.timedelta(minutes=15)

UNKNOWN: Final = 0  #: what a clock told that cannot have been right
_SAME_TIME_MS: Final = SAME_TIME // dt.timedelta(milliseconds=1)
_FUTURE_MS: Final = 60_000  # as far as two wall clocks of one machine may be apart
_UNITS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def dated(window: Window, now: int, zone: dt.tzinfo | None) -> Window:
    """The window with a line of the system wherever SAME_TIME has passed, so that each line has its age."""
    told, marked = now, list[tuple[ContextLine, ...]]()
    for lines in (window.history, window.pending):
        shown = list[ContextLine]()
        for line in lines:
            at = line.at if is_plausible(line.at, now) else UNKNOWN
            if abs(at - told) >= _SAME_TIME_MS:
                shown.append(ContextLine(author=Author.SYSTEM, text=_age(at, now, zone), at=line.at))
                told = at
            shown.append(line)
        marked.append(tuple(shown))
    return replace(window, history=marked[0], pending=marked[1])


def is_plausible(at: int, now: int) -> bool:
    """Whether a wall clock that told this can have been right. A machine that boots without NTP begins anywhere."""
    return EARLIEST <= at <= now + _FUTURE_MS


def moment(at: int, zone: dt.tzinfo | None) -> str:
    """Sunday 22 November 2026, 15:05 CET. Without a zone it is the machine's."""
    when = dt.datetime.fromtimestamp(at / 1000, dt.UTC).astimezone(zone)
    return f"{when:%A} {when.day} {when:%B %Y}, {when:%H:%M %Z}"


def _age(at: int, now: int, zone: dt.tzinfo | None) -> str:
    if at == UNKNOWN:
        return "at an unknown time"
    seconds = (now - at) // 1000
    ago = next((f"{counted(seconds // size, unit)} ago" for size, unit in _UNITS if seconds >= size), "just now")
    return f"{ago}, on {moment(at, zone)}"
