"""What of a conversation the model is shown: the newest lines that fit a token budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from convoq.ai.base import Author, ContextLine
from convoq.ai.facts import fact

CUT_MARK: Final = f"\n{fact('a part of this message is not shown')}\n"

# What the roles and separators around one message cost, whatever the model.
MESSAGE_OVERHEAD: Final = 4

# Tokens. Where a message of this size does not fit, it is the prompt or the room for an answer that is too large.
LEAST_SHOWN: Final = 64


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a conversation that is shown: older lines, then what is to be answered. Oldest first."""

    history: tuple[ContextLine, ...]
    pending: tuple[ContextLine, ...]  #: all since our side last spoke: the contact's messages, events among them
    dropped: int  #: how many older lines did not fit
    unread: int = 0  #: how many of those to be answered did not fit, the first of them

    @property
    def tokens(self) -> int:
        return sum(map(line_tokens, (*self.history, *self.pending)))


def pick_lines(lines: Sequence[ContextLine], budget: int, earlier: Sequence[ContextLine] = ()) -> Window:
    """The newest lines within about `budget` tokens, after those of `earlier` conversations that fit as well.

    What is to be answered is always complete, even beyond the budget; only a single message larger than half of it
    is shortened, in its middle and with a mark.
    """
    start = _pending_start(lines)
    pending = [shorten(line, budget // 2) for line in lines[start:]]
    return _window([*earlier, *lines[:start]], pending, budget)


def squeeze_lines(lines: Sequence[ContextLine], budget: int, earlier: Sequence[ContextLine] = ()) -> Window:
    """The newest lines as in pick_lines(), for a model that has no room for more.

    The contact's newest message always is among them, shortened if it has to be.
    """
    start = _pending_start(lines)
    pending = _newest(lines[start:], budget)
    if not any(line.author is Author.CONTACT for line in pending):
        newest = next(line for line in reversed(lines) if line.author is Author.CONTACT)
        pending = [shorten(newest, max(budget, LEAST_SHOWN))]
    unread = len(lines) - start - len(pending)
    return _window([*earlier, *lines[:start]], pending, budget, unread)


def _window(before: Sequence[ContextLine], pending: Sequence[ContextLine], budget: int, unread: int = 0) -> Window:
    room = 0 if unread else budget - sum(map(line_tokens, pending))
    history = _newest(before, room, longest=budget // 2)
    return Window(tuple(history), tuple(pending), len(before) - len(history), unread)


def _newest(lines: Sequence[ContextLine], room: int, *, longest: int | None = None) -> list[ContextLine]:
    """Those that fit, each at most `longest` tokens. A gap would let the model read an answer to a question that it
    cannot see: the first that does not fit ends them."""
    found: list[ContextLine] = []
    for line in reversed(lines):
        shown = line if longest is None else shorten(line, longest)
        room -= line_tokens(shown)
        if room < 0:
            break
        found.append(shown)
    return found[::-1]


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
    return estimate_tokens("\n".join((*line.notes, line.text))) + MESSAGE_OVERHEAD


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
