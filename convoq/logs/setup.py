"""Configures structlog and logging: one record for each event, without secrets or phone numbers."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TextIO

import structlog
from structlog.typing import Processor

from convoq.logs.masking import mask
from convoq.logs.plain import PlainJson
from convoq.logs.rendering import ConsoleRenderer, LeadingFields, describe_exception, render_json
from convoq.logs.stream import LineWriter, add_priority, is_journal

#: Libraries that log from WARNING on, whatever our level is: their lower levels may hold people's messages.
LIBRARIES: Final = ("aiohttp", "anthropic", "asyncio", "httpcore", "httpx", "httpx2", "openai", "pydantic_ai", "twilio")


def configure(
    level: str = "info",
    format: str = "auto",  # noqa: A002  # the setting's own name
    role: str | None = None,
    *,
    stream: TextIO | None = None,
    shield_printing: bool = False,
) -> None:
    """From here on every event of this process is one record on standard error, and waits for no reader.

    `level` is debug, info, warning or error; `format` is json, console, or auto (console on a terminal, JSON
    elsewhere). `role` stands in every event. What libraries log goes the same way, from warnings on. With
    `shield_printing` neither does anything wait that is printed; it comes out verbatim, line by line.
    """
    stream = stream or sys.stderr
    console = format == "console" or (format == "auto" and stream.isatty())
    leading = LeadingFields(role)
    shown: list[Processor] = [describe_exception, mask, leading]
    if console:
        shown.append(ConsoleRenderer(colors=_wants_colors(stream)))
    else:
        shown = [PlainJson([*shown, render_json], leading, role)]
    processors: list[Processor] = [structlog.contextvars.merge_contextvars, *shown]
    if is_journal(stream):
        processors.append(add_priority)

    def notice(lost: int) -> str:
        event: Any = {"event": "log.dropped", "records": lost}
        for process in processors[1:]:  # the context is that of the event after it
            event = process(None, "warning", event)
        return str(event)

    writer = LineWriter(stream, notice)
    structlog.configure(processors=processors, logger_factory=writer, cache_logger_on_first_use=False)
    set_level(level)
    _route_libraries()
    if shield_printing:
        writer.shield_printing()


def set_level(level: str) -> None:
    """From here on events below this level are not written."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    log.follow()


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
        """Binds to the configuration of now. Before the first call, each event looks up the one of its moment."""
        bound = structlog.get_logger().bind()
        for name in ("debug", "info", "warning", "error", "critical", "exception"):
            setattr(self, name, getattr(bound, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(structlog.get_logger(), name)


log: Final = _Logger()


def _wants_colors(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _route_libraries() -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _LibraryHandler)]:
        root.removeHandler(handler)
    # The handler has the level too: OPENAI_LOG=debug would otherwise write whole conversations.
    root.addHandler(_LibraryHandler(logging.WARNING))
    root.setLevel(logging.WARNING)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)


class _LibraryHandler(logging.Handler):
    """Makes an event of what a library logs."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001  # a library's format may not fit its arguments: then the bare format must do
            message = str(record.msg)
        level = "critical" if record.levelno >= logging.CRITICAL else "error"
        level = level if record.levelno >= logging.ERROR else "warning"
        getattr(log, level)("library.logged", logger=record.name, message=message, exc_info=record.exc_info)
