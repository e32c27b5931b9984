"""What a message is besides its text (a photo, a button, a place), in words that stand before it, a line each.

As a whole these are words in brackets, which can be typed just as well. The store keeps the text beside
the whole, and so tells notes from typed brackets. Imports nothing of convoq's.
"""

from __future__ import annotations

from collections.abc import Sequence


def described(notes: Sequence[str], text: str) -> str:
    """The message for people: its notes in brackets, then its text, if there is one. A note is one line."""
    return "\n".join([*(f"[{note}]" for note in notes), *([text] if text.strip() else [])])


def notes_in(description: str, text: str) -> tuple[str, ...]:
    """The notes of a message whose description and text these are."""
    if text.strip():
        description = description.removesuffix(text)
    return tuple(line[1:-1] for line in description.split("\n") if line)
