"""What both dialects need to read an answer, or to say why it cannot be read."""

from __future__ import annotations

from typing import Any, Final, TypeGuard

from convoq.text import masked

_LONGEST_SENTENCE: Final = 200
_TEXT_TYPES: Final = (None, "text", "output_text")
_KINDS: Final = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", type(None): "null"}


class Unreadable(Exception):
    """An answer that holds no text, tool call or error where they have to be. Names the field."""


def kind_of(value: object) -> str:
    """What a JSON value is, for people."""
    return _KINDS.get(type(value), "a number")


def word(value: object) -> str:
    """The text, or an empty one for anything else."""
    return value if isinstance(value, str) else ""


def as_object(value: object) -> dict[str, Any]:
    """The object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def is_text(part: object) -> TypeGuard[dict[str, Any]]:
    """Whether a part of an answer is words for the person, also where it does not say of what type it is."""
    return isinstance(part, dict) and part.get("type") in _TEXT_TYPES and ("text" in part or "content" in part)


def sentence(body: object) -> str:
    """What the body of an error says for people, in one line and without credentials; empty if it says nothing."""
    while isinstance(body, dict):
        body = next((body[name] for name in ("error", "message", "detail") if body.get(name)), None)
    line = masked(" ".join(word(body).split()))
    return line if len(line) <= _LONGEST_SENTENCE else line[: _LONGEST_SENTENCE - 1] + "…"
