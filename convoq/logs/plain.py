"""The short way of an event of texts and whole numbers, as nearly all are, to its line of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from structlog.typing import EventDict, Processor, WrappedLogger

from convoq.logs.masking import LONGEST_KNOWN, clean_name
from convoq.logs.rendering import LeadingFields, quote
from convoq.text import masked

#: What stands in front, whatever the order of the fields, and what becomes another field.
_PLACED: Final = frozenset({"timestamp", "level", "event", "role", "exc_info"})


class PlainJson:
    """Writes what `processors` would, whose `leading` puts the time in front: without them where the event is plain."""

    def __init__(self, processors: Sequence[Processor], leading: LeadingFields, role: str | None) -> None:
        self._processors = processors
        self._leading = leading
        self._role = "" if role is None else f',"role":{quote(masked(role))}'
        self._opening = lru_cache(maxsize=512)(self._open)

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> Any:
        fields = _members(event)
        if fields is None:
            return self._in_full(logger, method, event)
        return f'{{"timestamp":"{self._leading.now()}"{self._opening(method, event["event"])}{fields}}}'

    def _open(self, method: str, name: str) -> str:
        return f',"level":{quote(method)},"event":{quote(masked(name))}{self._role}'

    def _in_full(self, logger: WrappedLogger, method: str, event: EventDict) -> Any:
        rendered: Any = event
        for process in self._processors:
            rendered = process(logger, method, rendered)
        return rendered


def _members(event: EventDict) -> str | None:
    """The fields as they stand behind those in front; None where one of them, or the event's name, is not plain."""
    members = ""
    for key, value in event.items():
        kind = type(value)
        if key == "event" and kind is str and len(value) <= LONGEST_KNOWN:
            continue
        name = _name(key) if len(key) <= LONGEST_KNOWN else None
        if name is None:
            return None
        if kind is str:
            members += f",{name}:{quote(masked(value))}"
        elif kind is int:
            members += f",{name}:{value}"
        else:
            return None
    return members if "event" in event else None


@lru_cache(maxsize=1024)
def _name(key: str) -> str | None:
    """None: it has a place of its own, or is to be masked."""
    return None if key in _PLACED or clean_name(key) != key else quote(key)
