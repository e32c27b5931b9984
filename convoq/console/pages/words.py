"""Times, lengths of time and names as a person at a page reads them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from convoq.text import harmless, mask_address

LONGEST_LINE: Final = 160  #: characters of a text that stands in one line


def clock(ms: int) -> str:
    """The time of day, where the console runs: 16:40."""
    return _at(ms).strftime("%H:%M")


def day(ms: int) -> str:
    """Tuesday 24 November 2026."""
    at = _at(ms)
    return f"{at:%A} {at.day} {at:%B %Y}"


def moment(ms: int, now: int) -> str:
    """As short as it can be without a mistake: 16:40, Tue 16:40, 24 Nov, 24 Nov 2025."""
    at, today = _at(ms), _at(now)
    if at.date() == today.date():
        return clock(ms)
    if 0 <= (today.date() - at.date()).days < 7:
        return f"{at:%a} {clock(ms)}"
    return f"{at.day} {at:%b}" if at.year == today.year else f"{at.day} {at:%b %Y}"


def ago(ms: int, now: int) -> str:
    return span(max(0, now - ms) / 1000)


def span(seconds: float) -> str:
    """In two units, as far as they matter to who waits: 40 s, 4 min, 2 h 05 min, 3 d."""
    minutes = int(seconds) // 60
    if minutes < 1:
        return f"{int(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes < 1440 else f"{minutes // 1440} d"


def one_line(text: str) -> str:
    """The beginning of a text, on one line; nothing in it turns its direction or stands over other lines."""
    flat = " ".join(text[: 4 * LONGEST_LINE].split())
    return harmless(flat if len(flat) <= LONGEST_LINE else f"{flat[:LONGEST_LINE]}…")


def person(name: str | None, address: str) -> str:
    """The name that they gave themselves, or else their number, masked."""
    return (one_line(name) if name else "") or masked_number(address)


def masked_number(address: str) -> str:
    return mask_address(address.rpartition(":")[2])


def channel(address: str) -> str:
    return "WhatsApp" if address.startswith("whatsapp:") else "SMS"


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000).astimezone()
