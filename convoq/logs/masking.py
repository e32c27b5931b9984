"""Hides addresses and secrets in what is logged, and leaves only what JSON can hold."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Set
from functools import lru_cache
from typing import Any, Final, cast

from structlog.typing import EventDict, WrappedLogger

LONGEST_TEXT: Final = 16_384
LONGEST_LIST: Final = 100
LONGEST_KNOWN_KEY: Final = 64
DEEPEST: Final = 6

_SECRET_KEYS: Final = re.compile(
    r"auth_?token|api_?key(?!_sid)|passw(or)?d|secret|authorization|signature", re.IGNORECASE
)
_CREDENTIALS: Final = re.compile(r"\b(?:bearer|basic)\s+[\w+/=.~-]{6,}|\bsk-[\w*-]{6,}", re.IGNORECASE)
_ADDRESSES: Final = re.compile(
    r"\b(?:whatsapp|messenger|instagram|rcs|sms|tel)(?::|%3A)[^\s|\"'<>,;)&\]}]{5,}"
    r"|(?:\+|%2B)[0-9](?:[ ().-]{0,2}[0-9]){6,14}",
    re.IGNORECASE,
)
# What no address, and no credentials, can do without: far cheaper to look for, and nearly always not there.
_IN_ADDRESSES: Final = re.compile(r"[:%+]")
_IN_CREDENTIALS: Final = re.compile(r"[cCrRkK\u212a][\s-]")
_IN_EITHER: Final = re.compile(r"[:%+\s-]")
_SCHEME: Final = re.compile(r".*(?::|%3A)", re.IGNORECASE | re.DOTALL)


def mask_address(address: str) -> str:
    """The address with its middle hidden: whatsapp:+15551230001 becomes whatsapp:+1555***0001."""
    scheme = match[0] if (match := _SCHEME.match(address)) else ""
    own = address[len(scheme) :]
    head = own[: max(0, min(5, len(own) - 7))]
    tail = own[-min(4, len(own) // 2) :] if len(own) > 1 else ""
    return f"{scheme}{head}***{tail}"


def looks_secret(key: str) -> bool:
    """Is this the name of something that nobody may read?"""
    return _SECRET_KEYS.search(key) is not None


def mask(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Hides addresses in every text, drops what has a secret's name, and leaves only what JSON can hold."""
    return _clean_mapping(event, 0)


def _clean_mapping(values: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    clean = {}
    for key, value in values.items():
        known = type(key) is str and len(key) <= LONGEST_KNOWN_KEY
        name = _known_key(key) if known else _clean_key(str(key))
        if name is not None:
            clean[name] = _clean(value, depth)
    return clean


def _clean_key(key: str) -> str | None:
    """None: what goes by this name must not be seen."""
    return None if looks_secret(key) else clean_text(key)


# Our events have few keys, and always the same. What strangers invent is pushed out again.
_known_key = lru_cache(maxsize=1024)(_clean_key)


def _clean(value: object, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        return clean_text(cast(str, value))
    if kind is int or kind is bool or value is None:
        return value
    match value:
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else str(value)
        case str():
            return clean_text(str(value))
        case Mapping() if depth < DEEPEST:
            return _clean_mapping(value, depth + 1)
        case list() | tuple() | Set() if depth < DEEPEST:
            return [_clean(item, depth + 1) for item in list(value)[:LONGEST_LIST]]
        case _:
            return clean_text(_spoken(value))


def _spoken(value: object) -> str:
    try:
        return repr(value) if isinstance(value, bytes | list | tuple | Set | Mapping) else str(value)
    except Exception as error:  # noqa: BLE001  # a foreign __str__ may raise anything, and the event must still be written
        return f"<{type(value).__name__} that fails to say what it is: {type(error).__name__}>"


def clean_text(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}... ({len(text) - LONGEST_TEXT} more characters)"
    if not _IN_EITHER.search(text):
        return text
    if _IN_ADDRESSES.search(text):
        text = _ADDRESSES.sub(lambda match: mask_address(match[0]), text)
    return _CREDENTIALS.sub("***", text) if _IN_CREDENTIALS.search(text) else text
