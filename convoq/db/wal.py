"""Refuses a write-ahead log that was left beside another database file, before SQLite reads it into that file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from threading import Lock

from convoq.errors import DatabaseRefused

LOG_HEADER = 32  # bytes; a log that is no longer has nothing to say
MAGIC = b"SQLite format 3\0"
LOG_VERSION = 2  # of a file that is used with a log; it is in the file before there is a log, and goes after it

_lock = Lock()
_uses: Counter[tuple[int, int]] = Counter()


class WalGuard:
    """This process's use of a database file, from before SQLite opens it until after it has closed it.

    Raises DatabaseRefused when the log beside the file certainly belongs to another one.
    """

    def __init__(self, path: Path) -> None:
        with _lock:
            status = path.stat()
            self._file: tuple[int, int] | None = (status.st_dev, status.st_ino)
            # Looking drops SQLite's locks on the file in this process; a connection that holds some has looked already.
            if not _uses[self._file]:
                _refuse_foreign_log(path)
            _uses[self._file] += 1

    def end(self) -> None:
        """Ending it again does nothing."""
        with _lock:
            if self._file is not None:
                _uses[self._file] -= 1
                self._file = None


def _refuse_foreign_log(path: Path) -> None:
    log = path.with_name(path.name + "-wal")
    # The log first: what has one by now has been said to have one before.
    if not (log.is_file() and log.stat().st_size > LOG_HEADER):
        return
    with path.open("rb") as file:
        head = file.read(20)
    if head.startswith(MAGIC) and head[18] < LOG_VERSION:
        raise DatabaseRefused(
            f"{path}: {log.name} beside it is the log of another database file and would undo what was restored: "
            f"move {log.name} and {path.name}-shm away, then start again"
        )
