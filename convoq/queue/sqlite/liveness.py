"""Workers of one machine find each other: a lock that dies with its process, and a socket to be woken on."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

TICK_NS = 20_000_000  # more than any tick that a kernel stamps its files with


class Liveness:
    """A worker's own mark in the run directory: `NAME.alive`, locked while the process lives, and `NAME.wake`.

    The kernel frees the lock when the process dies, however it dies, so its claims can be taken again at once.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.woken = asyncio.Event()
        self._directory = directory
        self._descriptor = _lock_for_life(directory / f"{name}.alive")
        self._socket = _bind(directory, f"{name}.wake")
        asyncio.get_running_loop().add_reader(self._socket, self._on_datagram)

    def _on_datagram(self) -> None:
        with suppress(BlockingIOError):
            while True:
                self._socket.recv(16)
                self.woken.set()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        _remove(self._directory, self.name)
        os.close(self._descriptor)


class Notifier:
    """Tells every worker on this machine that work may be due. A hint: no payload, errors ignored."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._listed_at = -1
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
        changed_at = self._directory.stat().st_mtime_ns
        if changed_at != self._listed_at:
            # Another change within the same tick of the file system's clock would leave no trace.
            self._listed_at = changed_at if time.time_ns() - changed_at > TICK_NS else -1
            self._names = [entry.name for entry in os.scandir(self._directory) if entry.name.endswith(".wake")]
        return self._names

    def close(self) -> None:
        self._socket.close()


def is_alive(directory: Path, name: str) -> bool:
    """Whether the worker that left this mark still runs."""
    try:
        descriptor = os.open(directory / f"{name}.alive", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True  # another user's: its claims are left to their lease
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def remove_dead(directory: Path, name: str) -> None:
    """Removes a dead worker's mark. One that a worker has taken up since it was found dead stays."""
    with suppress(FileNotFoundError, BlockingIOError):
        descriptor = os.open(directory / f"{name}.alive", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(directory, name)
        finally:
            os.close(descriptor)


def _remove(directory: Path, name: str) -> None:
    """Call it holding the mark's lock."""
    for ending in ("wake", "alive"):
        (directory / f"{name}.{ending}").unlink(missing_ok=True)


def known_workers(directory: Path) -> list[str]:
    """The names of all workers that have left a mark, dead ones included."""
    return [entry.name.removesuffix(".alive") for entry in os.scandir(directory) if entry.name.endswith(".alive")]


def _lock_for_life(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Another worker may have removed the file between our open and our lock: then this lock is of nothing.
        with suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        os.close(descriptor)


def _bind(directory: Path, name: str) -> socket.socket:
    (directory / name).unlink(missing_ok=True)
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    receiver.bind(_short(directory, name))
    return receiver


_descriptors: dict[Path, int] = {}


def _short(directory: Path, name: str) -> str:
    """The socket's address. A socket's path is 107 bytes at most, so it goes through a descriptor of its directory."""
    if len(os.fsencode(directory / name)) <= 107:
        return str(directory / name)
    if directory not in _descriptors:
        _descriptors[directory] = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{_descriptors[directory]}/{name}"
