"""Where a log goes, written to without ever waiting for its reader."""

from __future__ import annotations

import os
import select
import socket
import stat
from contextlib import suppress
from typing import Final, Protocol, TextIO

LONGEST_POLL_MS: Final = 1000
PIPE_BUF: Final = 4096  # pipe(7): so much goes into a pipe with any room in one piece


class Output(Protocol):
    """Raises OSError, or ValueError once it is closed, where nothing can be written any more."""

    def write(self, data: bytes) -> int:
        """Returns at once how much was taken. Raises BlockingIOError when there is no room."""
        ...

    def write_patiently(self, data: bytes) -> int:
        """As write, but waits for room: for a thread of its own. Raises BlockingIOError after a while."""
        ...


def open_output(stream: TextIO) -> Output:
    """The stream's file in the way in which this kind of file can be written to without waiting.

    O_NONBLOCK is never set on the stream itself: it belongs to the open file, so to every process that shares it.
    """
    try:
        descriptor = stream.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError):  # closed: each write fails, until it is something else
        return FileOutput(stream)
    if stat.S_ISSOCK(mode):
        return SocketOutput(descriptor)
    if not (stat.S_ISFIFO(mode) or os.isatty(descriptor)):
        return FileOutput(stream)
    try:
        # Opened again it is an open file of its own.
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return ReopenedOutput(os.open(f"/proc/self/fd/{descriptor}", flags))
    except OSError:  # another user's pipe or terminal, as after sudo, or no /proc
        return SharedOutput(stream)


class FileOutput:
    """A regular file or a device such as /dev/null: it has no reader that could be waited for."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, data: bytes) -> int:
        # fileno() each time: the number of a closed file may be the database's by now.
        return os.write(self._stream.fileno(), data)

    write_patiently = write


class ReopenedOutput:
    """A pipe or a terminal, opened once more for this process alone and set not to block."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> int:
        return os.write(self._descriptor, data)

    def write_patiently(self, data: bytes) -> int:
        _await_room(self._descriptor)
        return self.write(data)

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self._descriptor)


class SocketOutput:
    """The journal: a socket can't be opened again, but can be told not to block for each write."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))

    def write(self, data: bytes) -> int:
        return self._socket.send(data, socket.MSG_DONTWAIT)

    def write_patiently(self, data: bytes) -> int:
        _await_room(self._socket.fileno())
        return self.write(data)

    def __del__(self) -> None:
        with suppress(OSError):
            self._socket.close()


class SharedOutput:
    """A pipe or a terminal that must not be changed and can't be opened again: only a thread may write to it.

    Room that poll() has seen may be taken by another process that shares it before the write, which then blocks.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, data: bytes) -> int:  # noqa: ARG002  # the protocol's signature
        raise BlockingIOError

    def write_patiently(self, data: bytes) -> int:
        _await_room(self._stream.fileno())
        return os.write(self._stream.fileno(), data[:PIPE_BUF])


def _await_room(descriptor: int) -> None:
    room = select.poll()
    room.register(descriptor, select.POLLOUT)
    if not room.poll(LONGEST_POLL_MS):
        raise BlockingIOError
