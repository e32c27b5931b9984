"""Workers of one machine find each other: a lock that dies with its process, and a socket to be woken on."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from convoq.db.descriptors import close_private, is_private, keep_private, open_private

TICK_NS = 20_000_000  # more than any tick that a kernel stamps its files with
LONGEST_MARK = 512  # bytes


class Liveness:
    """A worker's own mark in the run directory: `NAME.alive`, locked while the process lives, and `NAME.wake`.

    The kernel frees the lock when the process dies, however it dies and whatever children it had, so its claims can be
    taken again at once. The mark names its own inode: a copy of it, as in a restored directory, is not locked by anyone
    and says nothing.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.woken = asyncio.Event()
        self._directory = directory
        self._mark = _leave_mark(directory, name)
        try:
            self._socket = _bind(directory, name)
        except BaseException:
            close_private(self._mark)
            raise
        self._bound = _inode(directory / f"{name}.wake")
        asyncio.get_running_loop().add_reader(self._socket, self._on_datagram)

    def _on_datagram(self) -> None:
        with suppress(BlockingIOError):
            while True:
                self._socket.recv(16)
                self.woken.set()

    def restore(self) -> bool:
        """Puts the mark and the socket back if another file or none stands in their place; whether one was missing.

        Raises OSError when that is not possible just now.
        """
        marked = _inode(self._directory / f"{self.name}.alive") == _inode(self._mark)
        heard = _inode(self._directory / f"{self.name}.wake") == self._bound
        if not marked:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            replaced, self._mark = self._mark, _leave_mark(self._directory, self.name)
            _revoke(replaced)
        if not heard:
            replacement = _bind(self._directory, self.name)
            self._close_socket()
            self._socket = replacement
            self._bound = _inode(self._directory / f"{self.name}.wake")
            asyncio.get_running_loop().add_reader(self._socket, self._on_datagram)
            self.woken.set()  # what was sent to the old address is lost: look
        return not (marked and heard)

    def close(self, *, keep_mark: bool = False) -> None:
        """Ends it in order. A mark that is kept shows that claims were left behind: it proves a death from now on.

        In a forked child that runs to its end it does nothing: the mark is its parent's, which lives.
        """
        if not is_private(self._mark):
            return
        self._close_socket()
        if not keep_mark:
            _remove(self._directory, self.name)
        close_private(self._mark)

    def _close_socket(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        close_private(self._socket.detach())


class Notifier:
    """Tells every worker on this machine that work may be due. A hint: no payload, errors ignored."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._listed: tuple[int, int] | None = None
        self._names: list[str] = []

    def wake(self) -> None:
        with suppress(OSError):  # the run directory was removed
            for name in self._workers():
                self._wake(name)

    def _wake(self, name: str) -> None:
        # Gone (recovered by another worker) or too busy to read: then it looks anyway.
        with suppress(OSError):
            self._socket.sendto(b"", _short(self._directory, name))

    def _workers(self) -> list[str]:
        status = self._directory.stat()
        seen = (status.st_ino, status.st_mtime_ns)
        if seen != self._listed:
            # Another change within the same tick of the file system's clock would leave no trace.
            self._listed = seen if time.time_ns() - status.st_mtime_ns > TICK_NS else None
            self._names = [entry.name for entry in os.scandir(self._directory) if entry.name.endswith(".wake")]
        return self._names

    def close(self) -> None:
        self._socket.close()


def is_dead(directory: Path, name: str) -> bool:
    """Whether a worker's mark proves that the worker has died: it is the worker's own, and its lock is free.

    A mark that is gone, copied, unreadable, or that cannot be looked at just now (EMFILE) proves nothing.
    """
    try:
        descriptor = os.open(directory / f"{name}.alive", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return os.read(descriptor, LONGEST_MARK) == _signature(descriptor, name)
    except OSError:
        return False  # locked (BlockingIOError), or not to be read
    finally:
        os.close(descriptor)


def remove_dead(directory: Path, name: str) -> None:
    """Removes a dead worker's mark; one that proves no death any more stays."""
    if is_dead(directory, name):
        _remove(directory, name)


def _remove(directory: Path, name: str) -> None:
    for ending in ("wake", "alive"):
        with suppress(OSError):  # the directory went first, or became another's: a mark that stays harms nothing
            (directory / f"{name}.{ending}").unlink()


def known_workers(directory: Path) -> list[str]:
    """The names of all workers that have left a mark, dead ones included. Raises OSError."""
    return [entry.name.removesuffix(".alive") for entry in os.scandir(directory) if entry.name.endswith(".alive")]


def _leave_mark(directory: Path, name: str) -> int:
    """The descriptor of a new mark, which appears locked and whole, in the place of any other."""
    draft = directory / f"{name}.alive.new"
    descriptor = open_private(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, _signature(descriptor, name))
        draft.rename(directory / f"{name}.alive")
    except BaseException:
        close_private(descriptor)
        draft.unlink(missing_ok=True)
        raise
    return descriptor


def _revoke(descriptor: int) -> None:
    """Empties a mark before its lock goes, or it would prove a death when its directory is moved back into place."""
    os.ftruncate(descriptor, 0)
    close_private(descriptor)


def _signature(descriptor: int, name: str) -> bytes:
    """What only this file can hold truthfully: no copy has its inode for as long as it is open."""
    status = os.fstat(descriptor)
    return f"{status.st_dev} {status.st_ino} {name}\n".encode()


def _inode(file: Path | int) -> tuple[int, int] | None:
    """Which file this is; None where there is none. Raises OSError where it cannot be looked at."""
    try:
        status = os.fstat(file) if isinstance(file, int) else file.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _bind(directory: Path, name: str) -> socket.socket:
    (directory / f"{name}.wake").unlink(missing_ok=True)
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        receiver.bind(_short(directory, f"{name}.wake"))
    except BaseException:
        receiver.close()
        raise
    keep_private(receiver.fileno())
    return receiver


_descriptors: dict[Path, int] = {}


def _short(directory: Path, name: str) -> str:
    """The socket's address. A socket's path is 107 bytes at most, so it goes through a descriptor of its directory."""
    if len(os.fsencode(directory / name)) <= 107:
        return str(directory / name)
    descriptor = _descriptors.get(directory)
    if descriptor is None or _inode(descriptor) != _inode(directory):  # another directory stands there now
        _descriptors[directory] = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if descriptor is not None:
            os.close(descriptor)
    return f"/proc/self/fd/{_descriptors[directory]}/{name}"
