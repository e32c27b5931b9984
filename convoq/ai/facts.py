"""Notes of the system among the words of people, in marks that no text of theirs can hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from convoq.ai.base import ContextLine

OPENING, CLOSING = "⟦", "⟧"

# Those that look the same to a model go, too.
_PLAIN: Final = str.maketrans(dict.fromkeys("⟦〚⦗", "[") | dict.fromkeys("⟧〛⦘", "]"))


def fact(text: str) -> str:
    """A note that only the system can write."""
    return f"{OPENING}{plain(text)}{CLOSING}"


def plain(text: str) -> str:
    """The text with brackets in place of the marks of facts."""
    return text.translate(_PLAIN)


def plain_line(line: ContextLine) -> ContextLine:
    return replace(line, text=plain(line.text), notes=tuple(map(plain, line.notes)))
