"""Types of arguments that several commands take."""

from __future__ import annotations

import argparse
from typing import Final

MOST_DIGITS: Final = 18  # of an id: they all fit into SQLite's integers


def positive(text: str) -> int:
    digits = text.lstrip("0")
    if not (digits.isascii() and digits.isdigit()):
        raise argparse.ArgumentTypeError(f"{shortened(text)} is not a whole number from 1 on")
    if len(digits) > 9:
        raise argparse.ArgumentTypeError(f"{shortened(text)} is too large")
    return int(digits)


def job_id(text: str) -> str:
    return str(_row_id(text, "a job's id"))


def conversation_id(text: str) -> int:
    return _row_id(text, "a conversation's id")


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
