"""Types of arguments that several commands take."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Final

LONGEST_LINE: Final = 200  # characters
MOST_DIGITS: Final = 18  # of an id: they all fit into SQLite's integers


SINCE: Final = "from then on: 30min, 2h, 7d, or a local time like 2026-11-22 or 2026-11-22T15:04"

_AGO: Final = re.compile(r"([0-9]{1,6})(s|min|h|d|w)")
_MS: Final = {"s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def moment(text: str) -> Callable[[int], int]:
    """A moment in ms, as a function of now: the clock that counts is known once the database is open."""
    if found := _AGO.fullmatch(text):
        ago = int(found[1]) * _MS[found[2]]
        return lambda now: now - ago
    from datetime import datetime  # `convoq version` does without

    try:
        at = datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(
            f"{shortened(text)} is neither a length of time (30min, 2h, 7d) nor a date (2026-11-22T15:04)"
        ) from None
    return lambda _: round(at.timestamp() * 1000)


def positive(text: str) -> int:
    digits = text.lstrip("0")
    if not (digits.isascii() and digits.isdigit()):
        raise argparse.ArgumentTypeError(f"{shortened(text)} is not a whole number from 1 on")
    if len(digits) > 9:
        raise argparse.ArgumentTypeError(f"{shortened(text)} is too large")
    return int(digits)


def one_line(text: str) -> str:
    """A few words, for people or as a name."""
    if not text.strip() or not text.isprintable() or len(text) > LONGEST_LINE:
        raise argparse.ArgumentTypeError(f"{shortened(text)} is not one line of 1 to {LONGEST_LINE} characters")
    return text.strip()


def positive_or_zero(text: str) -> int:
    return 0 if text and not text.strip("0") else positive(text)


def job_id(text: str) -> str:
    return str(_row_id(text, "a job's id"))


def conversation_id(text: str) -> int:
    return _row_id(text, "a conversation's id")


def conversation(text: str) -> str:
    """A conversation's id, or the person's address; which of them it is, the database tells."""
    if text.isascii() and text.isdigit():
        return str(conversation_id(text))
    return _address(text, "is neither a conversation's id nor an address such as +15551230001")


def address(text: str) -> str:
    """A person's, as it is written to."""
    return _address(text, "is no address such as whatsapp:+15551230001 or +15551230001")


def _address(text: str, problem: str) -> str:
    from convoq.phone import address_of

    try:
        return address_of(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shortened(text)} {problem}") from None


def message_id(text: str) -> int:
    return _row_id(text, "a message's id")


def _row_id(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{shortened(text)} is not {what}: ids are numbers")
    digits = text.lstrip("0") or "0"
    if len(digits) > MOST_DIGITS:
        raise argparse.ArgumentTypeError(f"{shortened(text)} is too large for {what}: there is none like it")
    return int(digits)


def shortened(text: str) -> str:
    """What was given, in quotes, as much of it as fits into a message."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
