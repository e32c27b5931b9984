"""Writes records to a stream: each in one piece, and never at the cost of the work that it tells of."""

from __future__ import annotations

import io
import os
import select
import threading
from typing import Any, Final, TextIO

from structlog.typing import WrappedLogger

LONGEST_WAIT: Final = 0.1  # seconds for a slow reader of a stream that is set not to block

# Priorities as sd-daemon(3) wants them in front of a line.
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


class LineWriter:
    """Writes each record in one piece. A log that cannot be written must not fail the work that it tells of."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._torn = False  # the last record is out in part
        self._patient = True  # a full stream may be waited for
        # A wrapped stream may do more than the file below it, or have none.
        self._put = self._put_bytes if type(stream) is io.TextIOWrapper else self._put_text

    def __call__(self, *_: object) -> LineWriter:
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
        """In one os.write: once it returns, the record is out, even if the process is killed next."""
        # fileno() each time: the number of a closed file may be the database's by now.
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
        except BlockingIOError:  # O_NONBLOCK belongs to the open file: any process that shares it can set it
            room = select.poll()
            room.register(descriptor, select.POLLOUT)
            room.poll(LONGEST_WAIT * 1000 if self._patient else 0)
            # A reader that was too slow once is not waited for again before there is room.
            self._patient = False
            written = os.write(descriptor, data)
        self._patient = True
        return written


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
