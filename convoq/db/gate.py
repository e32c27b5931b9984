"""The write gate: one write transaction or checkpoint at a time on this machine, in a fair order."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from convoq.db.files import uncreated


class Gate:
    """Held around every write transaction and every checkpoint of the file, by every process of convoq.

    It makes "database is locked" impossible among them, gives each a fair turn (SQLite's own busy handler does not),
    and keeps a checkpoint from running beside a commit, which the WAL-reset bug of SQLite before 3.51.3 needs
    (sqlite.org/wal.html#walresetbug). The lock is on a file of its own: closing any descriptor of the database, its
    -wal or -shm file would drop SQLite's own locks in this process. The kernel frees it when its holder dies.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            # Made by another user, mostly: root, who only wanted to look.
            raise uncreated(path, error, "it must belong to the user that runs convoq") from error

    def __enter__(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Closing it again does nothing: the descriptor's number may be reused by then."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
