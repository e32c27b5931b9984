"""Makes one record of an event: a line of JSON for programs, a line and an indented traceback for people."""

from __future__ import annotations

import json
import re
import sys
import time
import traceback
from typing import Final

from structlog.typing import EventDict, WrappedLogger

from convoq.text import LONGEST_TEXT, masked, printable

_PLAIN: Final = re.compile(r"[^\s\"=]+")
_COLORS: Final = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "31;1"}


def describe_exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Turns exc_info into one field: type, message and traceback, never the values of local variables."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        kind = type(error)
        event["exception"] = {
            "type": kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}",
            "message": error,
            # The end of a long one says more than its beginning.
            "traceback": "".join(traceback.format_exception(error))[-LONGEST_TEXT:],
        }
    return event


class LeadingFields:
    """Puts time, level, event and role in front. An event may name another role, but no other time or level."""

    def __init__(self, role: str | None) -> None:
        self._places = {"timestamp": "", "level": "", "event": ""}
        if role is not None:
            self._places["role"] = masked(role)
        self._second = (-1, "")

    def __call__(self, _: WrappedLogger, method: str, event: EventDict) -> EventDict:
        return {**self._places, **event, "timestamp": self.now(), "level": method}

    def now(self) -> str:
        second, microsecond = divmod(time.time_ns() // 1000, 1_000_000)
        known, text = self._second
        if second != known:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second, text  # at once: other threads ask too
        return f"{text}.{microsecond:06d}Z"


def render_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    """One line of ASCII: any reader splits it where we end it, and nowhere else."""
    members = [
        f"{quote(key)}:{quote(value) if type(value) is str else _encoded(value)}" for key, value in event.items()
    ]
    return f"{{{','.join(members)}}}"


def _encoded(value: object) -> str:
    # To set up an encoder costs more than to write most values.
    return repr(value) if type(value) is int else _encode(value)


quote = json.encoder.encode_basestring_ascii
_encode = json.JSONEncoder(separators=(",", ":")).encode


class ConsoleRenderer:
    """For people: the time, the level, the event and its fields; a traceback is indented below."""

    def __init__(self, *, colors: bool) -> None:
        self._colors = colors

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> str:
        lead = [event.pop(key, "") for key in ("timestamp", "level", "event")]
        time, level, name = (printable(str(item)) for item in lead)
        error = event.pop("exception", None)
        fields = [f"{printable(key)}={_shown(value)}" for key, value in event.items()]
        line = " ".join(
            [self._colored("2", time), self._colored(_COLORS.get(level, "0"), f"{level:<8}"), name, *fields]
        )
        return line + self._described(error)

    def _colored(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colors else text

    def _described(self, error: object) -> str:
        if not isinstance(error, dict):
            return "" if error is None else f" exception={_shown(error)}"
        # Indented, so that no message of an exception can pass for an event.
        return "".join(f"\n    {printable(line)}" for line in str(error.get("traceback", "")).splitlines())


def _shown(value: object) -> str:
    if isinstance(value, str):
        return printable(value) if _PLAIN.fullmatch(value) else printable(json.dumps(value, ensure_ascii=False))
    return printable(json.dumps(value, ensure_ascii=False))
