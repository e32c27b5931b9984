"""Hides addresses and secrets in what is logged, and leaves only what JSON can hold."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Set
from functools import lru_cache
from typing import Any, Final, cast

from structlog.typing import EventDict, WrappedLogger

from convoq.text import masked

MAX_ITEMS: Final = 100
LONGEST_KNOWN: Final = 64  # a longer name is no name of ours, and not kept
MAX_DEPTH: Final = 6

_SECRET_KEYS: Final = re.compile(
    r"auth_?token|api_?key(?!_sid)|passw(or)?d|secret|authorization|signature", re.IGNORECASE
)


def looks_secret(key: str) -> bool:
    """Whether a value of this name is a secret."""
    return _SECRET_KEYS.search(key) is not None


def mask(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Hides addresses in every text, drops what has a secret's name, and leaves only what JSON can hold."""
    return _clean_mapping(event, 0)


def _clean_mapping(values: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    clean = {}
    for key, value in values.items():
        known = type(key) is str and len(key) <= LONGEST_KNOWN
        name = _known_name(key) if known else clean_name(str(key))
        if name is not None:
            clean[name] = _clean(value, depth)
    return clean


def clean_name(key: str) -> str | None:
    """None: the value of this name is a secret."""
    return None if looks_secret(key) else masked(key)


# Our events have few keys, and always the same. Keys that come from outside are pushed out of the cache again.
_known_name = lru_cache(maxsize=1024)(clean_name)


def _clean(value: object, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        return masked(cast(str, value))
    if kind is int or kind is bool or value is None:
        return value
    match value:
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else str(value)
        case str():
            return masked(str(value))
        case Mapping() if depth < MAX_DEPTH:
            return _clean_mapping(value, depth + 1)
        case list() | tuple() | Set() if depth < MAX_DEPTH:
            return [_clean(item, depth + 1) for item in list(value)[:MAX_ITEMS]]
        case _:
            return masked(_text_of(value))


def _text_of(value: object) -> str:
    try:
        return repr(value) if isinstance(value, bytes | list | tuple | Set | Mapping) else str(value)
    except Exception as error:  # noqa: BLE001  # a foreign __str__ may raise anything, and the event must still be written
        return f"<{type(value).__name__} that fails to say what it is: {type(error).__name__}>"
