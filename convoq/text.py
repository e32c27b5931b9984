"""Text for people: harmless to the terminal, times as they say them, addresses masked."""

from __future__ import annotations

import re
from typing import Final

# Joiners are part of emoji and of several scripts; no terminal is steered by them.
_JOINERS: Final = "\u200c\u200d"
_SPACES: Final = re.compile(r"[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


def harmless(text: str) -> str:
    """The text with everything shown escaped that could steer a terminal, break a line or turn its direction."""
    return "".join(char if _is_harmless(char) else _escaped(char) for char in text)


def _is_harmless(char: str) -> bool:
    return char.isprintable() or char in _JOINERS or _SPACES.match(char) is not None


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def masked(text: str) -> str:
    """The text with the phone numbers and other addresses in it hidden but for their ends."""
    from convoq import logs

    return str(logs.mask(None, "", {"text": text})["text"])


def age(seconds: float) -> str:
    """A length of time in one unit: 3 s, 4 min, 2 h, 5 d. Below ten seconds with one decimal place."""
    seconds = max(0.0, seconds)
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{seconds:.1f} s" if 0 < seconds < 9.95 and seconds % 1 else f"{seconds:.0f} s"


def local_time(ms: int) -> str:
    """A moment in local time: 2026-11-22 15:04:01."""
    from datetime import datetime  # here and below: `convoq version` does without

    return datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def iso_time(ms: int | None) -> str | None:
    """A moment for programs: 2026-11-22T15:04:01.123Z."""
    if ms is None:
        return None
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def size(count: int) -> str:
    """A number of bytes: 512 B, 1.2 MB."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def counted(number: int, noun: str) -> str:
    """1 job, 2 jobs."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
