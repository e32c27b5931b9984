"""What of a conversation the model is shown: the newest lines that fit a token budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from convoq.ai.base import Author, ContextLine

CUT_MARK: Final = "\n[... cut ...]\n"

# What the roles and separators around one message cost, whatever the model.
MESSAGE_OVERHEAD: Final = 4


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a conversation that is shown: older lines, then what is to be answered. Oldest first."""

    history: tuple[ContextLine, ...]
    pending: tuple[ContextLine, ...]  #: all since our side last spoke: the contact's messages, events among them
    dropped: int  #: how many older lines did not fit


def pick_lines(lines: Sequence[ContextLine], budget: int) -> Window:
    """The newest lines within about `budget` tokens.

    What is to be answered is always complete, even beyond the budget; only a single message larger than half of it
    is shortened, in its middle and with a mark.
    """
    start = _pending_start(lines)
    pending = [shorten(line, budget // 2) for line in lines[start:]]
    room = budget - sum(map(line_tokens, pending))
    history: list[ContextLine] = []
    for line in reversed(lines[:start]):
        shown = shorten(line, budget // 2)
        room -= line_tokens(shown)
        # A gap would let the model read an answer to a question it cannot see: stop at the first that does not fit.
        if room < 0:
            break
        history.append(shown)
    return Window(tuple(reversed(history)), tuple(pending), start - len(history))


def _pending_start(lines: Sequence[ContextLine]) -> int:
    start = len(lines)
    while start and lines[start - 1].author in (Author.CONTACT, Author.SYSTEM):
        start -= 1
    return start


def shorten(line: ContextLine, limit: int) -> ContextLine:
    """The line, cut in its middle when it is larger than `limit` tokens: people often ask at the end."""
    return line if estimate_tokens(line.text) <= limit else replace(line, text=cut_middle(line.text, limit))


def cut_middle(text: str, limit: int) -> str:
    """About `limit` tokens of a text: two thirds from its beginning, one third from its end."""
    keep = len(text) * limit // max(1, estimate_tokens(text))
    head = keep * 2 // 3
    return text[:head].rstrip() + CUT_MARK + text[len(text) - (keep - head) :].lstrip()


def line_tokens(line: ContextLine) -> int:
    return estimate_tokens(line.text) + MESSAGE_OVERHEAD


def estimate_tokens(text: str) -> int:
    """About how many tokens a text is, for any model: close for English, on the safe side for other scripts."""
    if text.isascii():
        return (len(text) + 3) // 4
    quarters = sum(map(_quarter_tokens, text))
    return (quarters + 3) // 4


def _quarter_tokens(character: str) -> int:
    point = ord(character)
    if point < 0x80:
        return 1
    if point < 0x2E80:  # accented Latin, Greek, Cyrillic, Arabic, the scripts of India
        return 2
    return 4 if point < 0x10000 else 8  # Chinese, Japanese, Korean; emoji
