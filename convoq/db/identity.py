"""Notices that another file stands where one of the database's stood: moved, replaced, overwritten or deleted."""

from __future__ import annotations

from pathlib import Path

from convoq.db.files import FileId, log_of, shared_memory_of
from convoq.db.gate import Gate
from convoq.db.wal import WalGuard
from convoq.errors import DatabaseRefused


class LogRemoved(DatabaseRefused):
    """The log's name is gone while the file stands: what it holds can still be saved by a process that has it open."""


class Moved(DatabaseRefused):
    """The file's name is gone or another file's: what its log holds can be saved by a process that has both open."""


class Overwritten(DatabaseRefused):
    """Something else was written into the file: the log must not be moved into that."""


class Identity:
    """The file, its log and the gate as this process has them open. Made holding the gate, once the log is there."""

    def __init__(self, path: Path, guard: WalGuard, gate: Gate) -> None:
        self._path = path
        self._guard = guard
        self._log_path = log_of(path)
        self._log = FileId.at(self._log_path)
        self._gate = gate

    def check(self) -> None:
        """Three calls of stat and one pread: cheap enough for every fsync.

        Raises DatabaseRefused when a name stands for another file than the one that is open, DatabaseUnavailable when
        the disk does not tell.
        """
        if FileId.at(self._path) != self._guard.file:
            raise Moved(
                f"{self._path}: the file was moved, replaced or deleted while convoq was running: stop all three "
                f"roles, put it back beside the {self._log_path.name} that stayed, or move that away with "
                f"{shared_memory_of(self._path).name} and put a backup in its place, start again"
            )
        if not self._guard.is_intact():
            raise Overwritten(
                f"{self._path}: the file was overwritten while convoq was running: stop all three roles, keep "
                f"{self._log_path.name} with what was there, put the right file in place without it, start again"
            )
        self._check_log()
        if FileId.at(self._gate.path) != self._gate.file:
            raise DatabaseRefused(
                f"{self._gate.path}: was removed or replaced while convoq was running: without it two processes could "
                f"write at once: stop all three roles, remove {self._gate.path.parent}, start again"
            )

    def end(self) -> None:
        """Once SQLite has closed the file: until then its locks stand on what this keeps open."""
        self._guard.end()

    def _check_log(self) -> None:
        found = FileId.at(self._log_path)
        if found is None:
            raise LogRemoved(
                f"{self._log_path}: was removed while convoq was running: the roles save what they hold of it into "
                f"{self._path.name} as they end: let them end, then start them again"
            )
        if found != self._log:
            raise DatabaseRefused(
                f"{self._log_path}: was replaced while convoq was running: stop all three roles, put the right file "
                "and its own log in place, or a backup without any log, start again"
            )
