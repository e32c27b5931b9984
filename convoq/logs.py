"""The log: one record for each event, which no text can break and which holds neither secrets nor phone numbers."""

from __future__ import annotations

import io
import json
import logging
import math
import os
import re
import select
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Set
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

#: Libraries whose own talk is heard from warnings on, whatever the level of ours is: theirs may hold messages.
LIBRARIES: Final = ("aiohttp", "anthropic", "asyncio", "httpcore", "httpx", "httpx2", "openai", "pydantic_ai", "twilio")

LONGEST_TEXT: Final = 16_384
LONGEST_LIST: Final = 100
LONGEST_KNOWN_KEY: Final = 64
DEEPEST: Final = 6
LONGEST_WAIT: Final = 0.1  # seconds for somebody who reads the log too slowly, where writing it does not block

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
_PLAIN: Final = re.compile(r"[^\s\"=]+")

# Priorities as sd-daemon(3) wants them in front of a line.
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_COLORS: Final = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "31;1"}


def configure(
    level: str = "info",
    format: str = "auto",  # noqa: A002  # the setting's own name
    role: str | None = None,
    *,
    stream: TextIO | None = None,
) -> None:
    """From here on every event of this process is one record on standard error.

    `level` is debug, info, warning or error; `format` is json, console, or auto (console on a terminal, JSON
    elsewhere). `role` stands in every event. What libraries log goes the same way, from warnings on.
    """
    stream = stream or sys.stderr
    console = format == "console" or (format == "auto" and stream.isatty())
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        describe_exception,
        mask,
        _Lead(role),
        _Console(colors=_wants_colors(stream)) if console else render_json,
    ]
    if _is_journal(stream):
        processors.append(add_priority)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Lines(stream),
        cache_logger_on_first_use=False,
    )
    log.follow()
    _route_libraries()


class _Logger:
    """structlog's own, bound once for each configuration: its lazy proxy binds anew for each event."""

    if TYPE_CHECKING:
        debug: Callable[..., None]
        info: Callable[..., None]
        warning: Callable[..., None]
        error: Callable[..., None]
        critical: Callable[..., None]
        exception: Callable[..., None]

    def follow(self) -> None:
        """From here on events go the way that structlog is configured now; before, they go whatever way it is then."""
        bound = structlog.get_logger().bind()
        for name in ("debug", "info", "warning", "error", "critical", "exception"):
            setattr(self, name, getattr(bound, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(structlog.get_logger(), name)


log: Final = _Logger()


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


def printable(text: str) -> str:
    """The text with everything escaped that could break a line or steer a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def describe_exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Turns exc_info into one field: type, message and traceback, never the values of local variables."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["exception"] = {
            "type": _type_name(type(error)),
            "message": error,
            # The end of a long one says more than its beginning.
            "traceback": "".join(traceback.format_exception(error))[-LONGEST_TEXT:],
        }
    return event


def _type_name(kind: type[BaseException]) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


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
    return None if looks_secret(key) else _clean_text(key)


# Our events have few keys, and always the same. What strangers invent is pushed out again.
_known_key = lru_cache(maxsize=1024)(_clean_key)


def _clean(value: object, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        return _clean_text(cast(str, value))
    if kind is int or kind is bool or value is None:
        return value
    match value:
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else str(value)
        case str():
            return _clean_text(str(value))
        case Mapping() if depth < DEEPEST:
            return _clean_mapping(value, depth + 1)
        case list() | tuple() | Set() if depth < DEEPEST:
            return [_clean(item, depth + 1) for item in list(value)[:LONGEST_LIST]]
        case _:
            return _clean_text(_spoken(value))


def _spoken(value: object) -> str:
    try:
        return repr(value) if isinstance(value, bytes | list | tuple | Set | Mapping) else str(value)
    except Exception as error:  # noqa: BLE001  # a foreign __str__ may raise anything, and the event must still be written
        return f"<{type(value).__name__} that fails to say what it is: {type(error).__name__}>"


def _clean_text(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}... ({len(text) - LONGEST_TEXT} more characters)"
    if not _IN_EITHER.search(text):
        return text
    if _IN_ADDRESSES.search(text):
        text = _ADDRESSES.sub(lambda match: mask_address(match[0]), text)
    return _CREDENTIALS.sub("***", text) if _IN_CREDENTIALS.search(text) else text


class _Lead:
    """Puts time, level, event and role in front. An event may name another role, but no other time or level."""

    def __init__(self, role: str | None) -> None:
        self._places = {"timestamp": "", "level": "", "event": ""}
        if role is not None:
            self._places["role"] = _clean_text(role)
        self._second = (-1, "")

    def __call__(self, _: WrappedLogger, method: str, event: EventDict) -> EventDict:
        return {**self._places, **event, "timestamp": self._time(), "level": method}

    def _time(self) -> str:
        second, microsecond = divmod(time.time_ns() // 1000, 1_000_000)
        known, text = self._second
        if second != known:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second, text  # at once: other threads ask too
        return f"{text}.{microsecond:06d}Z"


def render_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    """One line of ASCII: any reader splits it where we end it, and nowhere else."""
    members = [
        f"{_quote(key)}:{_quote(value) if type(value) is str else _encoded(value)}" for key, value in event.items()
    ]
    return f"{{{','.join(members)}}}"


def _encoded(value: object) -> str:
    # To set up an encoder costs more than to write most values.
    return repr(value) if type(value) is int else _encode(value)


_quote = json.encoder.encode_basestring_ascii
_encode = json.JSONEncoder(separators=(",", ":")).encode


class _Console:
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


def add_priority(_: WrappedLogger, method: str, rendered: Any) -> str:
    """Puts the priority in front of each line, as the journal reads it: `journalctl -p warning` finds it."""
    prefix = f"<{_PRIORITIES.get(method, 6)}>"
    return "\n".join(prefix + line for line in str(rendered).split("\n"))


def _is_journal(stream: TextIO) -> bool:
    # A child whose output was redirected inherits the variable too: only the same device and inode is the journal.
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def _wants_colors(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class _Lines:
    """Writes each record in one piece. A log that cannot be written must not fail the work that it tells of."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._torn = False  # the last record is out in part
        self._patient = True
        # A stream that somebody has wrapped may do more than the file below it, or have none.
        self._put = self._put_bytes if type(stream) is io.TextIOWrapper else self._put_text

    def __call__(self, *_: object) -> _Lines:
        return self

    def write(self, record: str) -> None:
        with self._lock:
            try:  # noqa: SIM105  # suppress() costs half as much as the write
                self._put(record + "\n")
            except (OSError, ValueError):
                pass

    debug = info = warning = error = critical = write

    def _put_text(self, line: str) -> None:
        self._stream.write(line)
        self._stream.flush()

    def _put_bytes(self, line: str) -> None:
        """In one write: when it is done, the record is out, whatever kills us then."""
        # Asked each time: the number of a file that was closed may be the database's by now.
        descriptor = self._stream.fileno()
        data = line.encode(self._stream.encoding, "backslashreplace")
        data = b"\n" + data if self._torn else data
        left = data
        try:
            while left:
                left = left[self._put_some(descriptor, left) :]
        finally:
            if len(left) < len(data):
                self._torn = bool(left)

    def _put_some(self, descriptor: int, data: bytes) -> int:
        try:
            written = os.write(descriptor, data)
        except BlockingIOError:  # whoever shares the stream has made it so
            room = select.poll()
            room.register(descriptor, select.POLLOUT)
            room.poll(LONGEST_WAIT * 1000 if self._patient else 0)
            # Who has not read for so long is not waited for again before there is room.
            self._patient = False
            written = os.write(descriptor, data)
        self._patient = True
        return written


def _route_libraries() -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Library)]:
        root.removeHandler(handler)
    # The handler has the level too: OPENAI_LOG=debug would otherwise write whole conversations.
    root.addHandler(_Library(logging.WARNING))
    root.setLevel(logging.WARNING)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)


class _Library(logging.Handler):
    """Makes an event of what a library logs."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001  # a library's format may not fit its arguments: then the bare format must do
            message = str(record.msg)
        level = "critical" if record.levelno >= logging.CRITICAL else "error"
        level = level if record.levelno >= logging.ERROR else "warning"
        getattr(log, level)("library.logged", logger=record.name, message=message, exc_info=record.exc_info)
