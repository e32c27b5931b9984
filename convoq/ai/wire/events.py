"""Server-sent events, as a server sends them although a whole answer was asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from convoq.ai.wire.errors import Unreadable, kind_of

_DONE: Final = "[DONE]"
_FIELDS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")


class Events(NamedTuple):
    """What a stream said."""

    events: list[dict[str, Any]]
    done: bool  #: it was brought to its end


def read_events(body: bytes) -> Events | None:
    """The data of each event; None when the body is no event stream. Raises Unreadable."""
    if not body.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(_FIELDS):
        return None
    events = list[dict[str, Any]]()
    for number, data in enumerate(_data(body.decode("utf-8-sig", "replace")), 1):
        if data == _DONE:
            return Events(events, done=True)
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            raise Unreadable(f"event {number} of its stream is no JSON") from None
        if not isinstance(event, dict):
            raise Unreadable(f"event {number} of its stream is {kind_of(event)}, not an object")
        events.append(event)
    return Events(events, done=False)


def _data(text: str) -> Iterator[str]:
    """The data of each event that has any. An event ends with an empty line; its data may take several."""
    lines = list[str]()
    for line in [*text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), ""]:
        if line.startswith("data:"):
            lines.append(line[5:].removeprefix(" "))
        elif not line and lines:
            yield "\n".join(lines)
            lines.clear()
