"""Writes records without waiting for their reader: what finds no room is kept for a while, then dropped and counted."""

from __future__ import annotations

import atexit
import io
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final, TextIO

from convoq.logs.output import Output

if TYPE_CHECKING:
    from typing_extensions import Buffer

CAPACITY_BYTES: Final = 4 * 1024 * 1024  # kept for a reader that is slow
FLUSH_TIMEOUT_SECONDS: Final = 1.0  # for the log's reader, at the end of a process
NOTICE_INTERVAL_SECONDS: Final = 1.0  # between two notices while a slow reader goes on losing records
RETRY_PAUSE_SECONDS: Final = 0.05  # after room that poll() saw was gone again
LONGEST_LINE_BYTES: Final = 65_536  # printed without a newline; then one is put there


class BoundedWriter:
    """Each record goes out whole or not at all, in order, and no caller waits for the reader.

    With room a record is out when write() returns, even if the process is killed next. Without, up to `capacity` bytes
    are kept and written by a thread; beyond that the oldest are dropped, so that the last words of a process are the
    ones that stay. In their place stands `notice(how many)`.
    """

    def __init__(self, output: Output, notice: Callable[[int], bytes], *, capacity: int = CAPACITY_BYTES) -> None:
        self._output = output
        self._notice = notice
        self._capacity = capacity
        self._kept: deque[bytes] = deque()
        self._size = 0
        self._rest = b""  # of a record whose beginning is out
        self._torn = False  # the end of the last record will never come
        self._lost = 0
        self._announcing = 0  # lost records that the notice on its way tells of
        self._next_notice = 0.0
        self._reset()
        _writers.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._waiting = False  # something is kept or in the thread's hands: nothing may overtake it

    def write(self, record: bytes) -> None:
        """Takes one record, which ends with a newline. Never waits, and never fails."""
        with self._lock:
            if self._waiting:
                self._keep(record)
                return
            torn = self._torn
            data = self._preceded(record) if self._lost or torn else record
            try:
                written = self._output.write(data)
            except BlockingIOError:
                self._torn, self._lost, self._announcing = torn, self._lost + self._announcing, 0
                self._keep(record)
            except (OSError, ValueError):
                self._fail()
            else:
                self._announcing = 0
                if written < len(data):
                    self._rest = data[written:]
                    self._hand_over()

    def flush(self, timeout: float = FLUSH_TIMEOUT_SECONDS) -> bool:
        """Returns when everything is out, or False after `timeout` seconds."""
        with self._lock:
            if self._waiting:
                self._hand_over()
            return self._changed.wait_for(lambda: not self._waiting, timeout)

    def abandon(self) -> None:
        """For a forked child: what was kept is the parent's to write, and so is its thread."""
        self._kept.clear()
        self._size, self._rest, self._lost, self._announcing = 0, b"", 0, 0
        self._reset()

    # --- With the lock held

    def _preceded(self, record: bytes) -> bytes:
        """The record after what has to be said first."""
        notice, newline = b"", b"\n" if self._torn else b""
        if self._lost and (not self._kept or monotonic() >= self._next_notice):
            notice, self._announcing, self._lost = self._notice(self._lost), self._lost, 0
            self._next_notice = monotonic() + NOTICE_INTERVAL_SECONDS
        self._torn = False
        return newline + notice + record

    def _keep(self, record: bytes) -> None:
        self._kept.append(record)
        self._size += len(record)
        while self._size > self._capacity:
            self._size -= len(self._kept.popleft())
            self._lost += 1
        self._hand_over()

    def _hand_over(self) -> None:
        self._waiting = True
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="log", daemon=True)
            with suppress(RuntimeError):  # no more threads just now: the next record tries again
                thread.start()
                self._thread = thread
        self._changed.notify_all()

    def _fail(self, *, begun: bool = False) -> None:
        """The reader is gone or the disk is full: the next record tries again."""
        self._lost += self._announcing + 1 + len(self._kept)
        self._announcing, self._size = 0, 0
        self._kept.clear()
        self._torn = self._torn or begun

    # --- The thread

    def _run(self) -> None:
        while True:
            with self._lock:
                while not (self._rest or self._kept):
                    self._waiting = False
                    self._changed.notify_all()
                    self._changed.wait()
                data, begun = self._rest, bool(self._rest)
                self._rest = b""
                if not begun:
                    record = self._kept.popleft()
                    self._size -= len(record)
                    data = self._preceded(record)
            self._write_out(data, begun=begun)

    def _write_out(self, data: bytes, *, begun: bool) -> None:
        while data:
            try:
                written = self._output.write_patiently(data)
            except BlockingIOError:
                sleep(RETRY_PAUSE_SECONDS)
                continue
            except (OSError, ValueError):
                with self._lock:
                    self._fail(begun=begun)
                return
            begun, data = True, data[written:]
        self._announcing = 0


class PrintedLines(io.RawIOBase):
    """What is below sys.stdout and sys.stderr of a role: whole lines, verbatim, through a bounded writer."""

    def __init__(self, writer: BoundedWriter, original: TextIO) -> None:
        self._writer = writer
        self._original = original
        self._begun = b""  # a line without its end

    @property
    def name(self) -> str:
        return self._original.name

    def fileno(self) -> int:
        return self._original.fileno()

    def isatty(self) -> bool:
        return self._original.isatty()

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        data = bytes(data)
        lines, newline, self._begun = (self._begun + data).rpartition(b"\n")
        if newline:
            self._writer.write(lines + newline)
        if len(self._begun) > LONGEST_LINE_BYTES:
            self.end_line()
        return len(data)

    def end_line(self) -> None:
        """Writes what has no newline yet."""
        if self._begun:
            begun, self._begun = self._begun, b""
            self._writer.write(begun + b"\n")


def printing_through(writer: BoundedWriter, original: TextIO) -> TextIO:
    """A text stream in place of the original that never waits for the reader, and never fails for want of one."""
    lines = PrintedLines(writer, original)
    _printed.add(lines)
    buffer = io.BufferedWriter(lines)
    return io.TextIOWrapper(buffer, encoding=original.encoding, errors="backslashreplace", line_buffering=True)


def flush(timeout: float = FLUSH_TIMEOUT_SECONDS) -> None:
    """Writes what is kept, for at most `timeout` seconds in all. Before os._exit; at an ordinary end it is called."""
    deadline = monotonic() + timeout
    for lines in list(_printed):
        lines.end_line()
    for writer in list(_writers):
        writer.flush(max(0.0, deadline - monotonic()))


def _abandon_all() -> None:
    for writer in list(_writers):
        writer.abandon()


_writers: Final[weakref.WeakSet[BoundedWriter]] = weakref.WeakSet()
_printed: Final[weakref.WeakSet[PrintedLines]] = weakref.WeakSet()
atexit.register(flush)
os.register_at_fork(after_in_child=_abandon_all)
