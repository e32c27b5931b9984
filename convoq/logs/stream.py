"""Writes events to a stream: each in one piece, and never at the cost of the work that it tells of."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TextIO

from structlog.typing import WrappedLogger

from convoq.logs.bounded import BoundedWriter, printing_through
from convoq.logs.output import open_output

# Priorities as sd-daemon(3) wants them in front of a line.
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


class LineWriter:
    """Writes each record in one piece. A log that is not read or can't be written neither holds up nor fails the work.

    `notice` makes the record that says how many were dropped.
    """

    def __init__(self, stream: TextIO, notice: Callable[[int], str]) -> None:
        self._stream = stream
        self._notice = notice
        self._lock = threading.Lock()
        # A wrapped stream may do more than the file below it, or have none.
        self._bounded = self._open(stream) if type(stream) is io.TextIOWrapper else None

    def __call__(self, *_: object) -> LineWriter:
        return self

    def write(self, record: str) -> None:
        if self._bounded is not None:
            self._bounded.write((record + "\n").encode(self._stream.encoding, "backslashreplace"))
            return
        with self._lock, suppress(OSError, ValueError):
            self._stream.write(record + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = write

    def shield_printing(self) -> None:
        """From here on what this process prints is written as its events are: no print() waits for a reader."""
        if self._bounded is not None and self._stream is sys.stderr:
            printed = sys.stdout
            sys.stderr = printing_through(self._bounded, self._stream)
            if type(printed) is io.TextIOWrapper:
                # Both in one file (2>&1, the journal) keep their order.
                same = os.path.sameopenfile(printed.fileno(), self._stream.fileno())
                writer = self._bounded if same else self._open(printed)
                sys.stdout = printing_through(writer, printed)

    def _open(self, stream: TextIO) -> BoundedWriter:
        def notice(lost: int) -> bytes:
            return (self._notice(lost) + "\n").encode(stream.encoding, "backslashreplace")

        return BoundedWriter(open_output(stream), notice)


def add_priority(_: WrappedLogger, method: str, rendered: Any) -> str:
    """Puts the priority in front of each line, as the journal reads it: `journalctl -p warning` finds it."""
    prefix = f"<{_PRIORITIES.get(method, 6)}>"
    return "\n".join(prefix + line for line in str(rendered).split("\n"))


def is_journal(stream: TextIO) -> bool:
    # A child with redirected output inherits the variable too: only the same device and inode is the journal.
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))
