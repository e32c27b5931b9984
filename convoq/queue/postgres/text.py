"""PostgreSQL's text holds no NUL: how ours is written there."""

from __future__ import annotations

from typing import overload


@overload
def stored_key(key: str) -> str: ...
@overload
def stored_key(key: None) -> None: ...
def stored_key(key: str | None) -> str | None:
    """Two keys never become one; read_key() has the way back."""
    if key is None or ("\0" not in key and "\\" not in key):
        return key
    return key.replace("\\", "\\\\").replace("\0", "\\0")


def read_key(stored: str) -> str:
    if "\\" not in stored:
        return stored
    return "\\".join(part.replace("\\0", "\0") for part in stored.split("\\\\"))


def stored_json(payload: str) -> str:
    """The same object: in JSON a NUL can only stand inside a string, where it has another spelling."""
    return payload.replace("\0", "\\u0000") if "\0" in payload else payload


@overload
def stored_text(text: str) -> str: ...
@overload
def stored_text(text: None) -> None: ...
def stored_text(text: str | None) -> str | None:
    """What people read shows that something stood there."""
    return text if text is None or "\0" not in text else text.replace("\0", "\N{REPLACEMENT CHARACTER}")
