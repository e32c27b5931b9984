"""What must be true of a file and the log beside it before SQLite reads the one into the other."""

from __future__ import annotations

import os
from pathlib import Path

from convoq.db.birth import empty, missing
from convoq.db.files import FileId, log_of, run_directory_of, shared_memory_of, uncreated
from convoq.db.locks import LockTable, describe_process
from convoq.db.shared_file import SharedFile, in_use, lock
from convoq.errors import DatabaseRefused

LOG_HEADER_BYTES = 32  # a log that is no longer has nothing to say
MAGIC = b"SQLite format 3\0"
LOG_VERSION = 2  # of a file that is used with a log; it is in the file before there is a log, and goes after it


class WalGuard:
    """This process's use of a database file, from before SQLite opens it until after it has closed it.

    Call it holding the write gate. Raises DatabaseRefused when there is no file or an empty one, when its log is lost,
    and when the log beside it belongs to another file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with lock:
            try:
                status = path.stat()
                if not status.st_size:
                    raise empty(path)
                self.file = FileId.of(status)
                if self.file not in in_use:
                    _refuse_lost_log(path)
                    _refuse_log_in_use(path, status)
                    in_use[self.file] = _open_shared(path)
            except FileNotFoundError:
                traces = [trace for trace in (log_of(path), run_directory_of(path)) if trace.exists()]
                raise missing(path, traces) from None
            except OSError as error:
                raise uncreated(path, error, "it must belong to the user that runs convoq") from error
            self._shared: SharedFile | None = in_use[self.file]
            self._shared.uses += 1

    def is_intact(self) -> bool:
        """Whether the open file is still one that is used with a log: a backup that was written over it is not."""
        with lock:
            try:
                return self._shared is not None and _is_used_with_log(os.pread(self._shared.descriptor, 20, 0))
            except OSError as error:
                raise uncreated(self._path, error, "its disk is to be looked at") from error

    def end(self) -> None:
        """Ending it again does nothing."""
        with lock:
            shared, self._shared = self._shared, None
            if shared is not None:
                shared.uses -= 1
                if not shared.uses:
                    del in_use[self.file]
                    os.close(shared.descriptor)


def _open_shared(path: Path) -> SharedFile:
    shared = SharedFile(path)
    head = os.pread(shared.descriptor, 20, 0)
    log = log_of(path)
    log_status = _status(log)
    if head.startswith(MAGIC) and not _is_used_with_log(head) and log_status and log_status.st_size > LOG_HEADER_BYTES:
        os.close(shared.descriptor)
        raise DatabaseRefused(
            f"{path}: {log.name} beside it is the log of another database file and would undo what was restored: "
            f"move {log.name} and {shared_memory_of(path).name} away, then start again"
        )
    return shared


def _status(beside: Path) -> os.stat_result | None:
    """None where there is none: the last process that closes the database removes what stands beside it."""
    try:
        return beside.stat()
    except FileNotFoundError:
        return None


def _is_used_with_log(head: bytes) -> bool:
    return head.startswith(MAGIC) and head[18] >= LOG_VERSION


def _refuse_lost_log(path: Path) -> None:
    # SQLite makes the log before its shared memory and removes it after that: one without the log was robbed of it.
    # Looked at in turns: another process may close the file, or open it, between any two of these.
    log, shared_memory = log_of(path), shared_memory_of(path)
    if _status(shared_memory) and not _status(log) and _status(shared_memory) and not _status(log):
        raise DatabaseRefused(
            f"{path}: {log.name}, its log, was removed: roles that still run save what they hold of it as they end: "
            f"stop all three, then start again; if it stays like this, put {log.name} back, or give up the messages in "
            f"it: remove {shared_memory.name}"
        )


def _refuse_log_in_use(path: Path, status: os.stat_result) -> None:
    """Processes that hold the log's shared memory and not the file have another one open, which was moved away."""
    shared_memory = _status(shared_memory_of(path))
    if shared_memory is None:
        return
    locks = LockTable()
    holders = [pid for pid in locks.holders(shared_memory) if pid != os.getpid()]
    if holders and not locks.holders(status):
        raise DatabaseRefused(
            f"{path}: {describe_process(holders[0])} still runs on another file that stood here: stop all three "
            f"roles, put that one back beside {log_of(path).name}, or move that away with "
            f"{shared_memory_of(path).name} and keep the one that is here, start again"
        )
