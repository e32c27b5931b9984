"""The write gate: one write transaction or checkpoint at a time on this machine, in a fair order."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Final

from convoq.db.descriptors import close_private, duplicate_private, open_private
from convoq.db.files import FileId, uncreated
from convoq.db.locks import holder_of
from convoq.db.long_waits import LongWaits
from convoq.errors import DatabaseUnavailable
from convoq.logs import log

#: What is done about a process that holds the gate; only a stopped one does not let go by itself.
END_HOLDER: Final = "this process waits on; a stopped holder must go on (kill -CONT) or be ended"


class Gate:
    """Held around every write transaction and every checkpoint of the file, by every process of convoq.

    It makes "database is locked" impossible among them, gives each a fair turn (SQLite's own busy handler does not),
    and keeps a checkpoint from running beside a commit, which the WAL-reset bug of SQLite before 3.51.3 needs
    (sqlite.org/wal.html#walresetbug). The lock is on a file of its own: closing any descriptor of the database, its
    -wal or -shm file would drop SQLite's own locks in this process. The kernel frees it when its holder dies, whatever
    children that had.

    With a `timeout` (seconds), entering raises DatabaseUnavailable that names the holder once it is over; without one
    it waits on, and the log names the holder. One thread at a time may use a gate.
    """

    def __init__(self, path: Path, *, timeout: float | None = None) -> None:
        self.path = path
        self._timeout = timeout
        self._turn: _Turn | None = None
        self._long_waits = LongWaits(self._say_held, self._say_free)
        try:
            self._descriptor = open_private(path, os.O_RDWR)
        except OSError as error:
            # Made by another user, mostly by root for a command that only reads.
            raise uncreated(path, error, "it must belong to the user that runs convoq") from error
        self.file = FileId.of(os.fstat(self._descriptor))

    def __enter__(self) -> None:
        if self._is_free():
            return
        if self._timeout is not None:
            self._wait(self._timeout)
            return
        with self._long_waits:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Closing it again does nothing."""
        close_private(self._descriptor)

    def _is_free(self) -> bool:
        """Takes it, if that needs no wait."""
        if self._turn is not None:  # in line already, and perhaps granted by now
            return False
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait(self, timeout: float) -> None:
        if self._turn is None or not self._turn.resume():
            self._turn = _Turn(self._descriptor)
        if not self._turn.wait(timeout):
            raise DatabaseUnavailable(
                f"{self.path}: {self._holder() or 'another process'} has held the write gate for {timeout:g} s: "
                "let it go on, or end it, then try again"
            )
        self._turn = None

    def _holder(self) -> str | None:
        """None: this process, at another gate of its own, or one that the kernel does not show."""
        return holder_of(self._descriptor, besides=os.getpid())

    def _say_held(self, seconds: float) -> None:
        log.warning(
            "database.gate_held",
            gate=str(self.path), holder=self._holder(), seconds=round(seconds, 1), remedy=END_HOLDER,
        )  # fmt: skip

    def _say_free(self, seconds: float) -> None:
        log.warning("database.gate_free", gate=str(self.path), seconds=round(seconds, 1))


class _Turn:
    """A place in the line for the lock, which flock itself has no deadline for.

    Not a poll: under load the lock is never free at the moment of a look, and only a thread that waits in line gets it.
    """

    def __init__(self, descriptor: int) -> None:
        # A duplicate shares the lock, and stays open when the gate closes its own descriptor meanwhile.
        self._descriptor = duplicate_private(descriptor)
        self._mutex = Lock()
        self._ended = Event()
        self._wanted = True
        Thread(target=self._stand_in_line, name="gate", daemon=True).start()

    def resume(self) -> bool:
        """Waits on after a deadline; false when its turn came meanwhile, and went to the next."""
        with self._mutex:
            self._wanted = True
            return not self._ended.is_set()

    def wait(self, timeout: float) -> bool:
        """Whether the lock is the caller's; else the place in the line is kept, and the lock passed on."""
        if self._ended.wait(timeout):
            return True
        with self._mutex:
            self._wanted = self._ended.is_set()
            return self._wanted

    def _stand_in_line(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        with self._mutex:
            if not self._wanted:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self._ended.set()
        close_private(self._descriptor)
