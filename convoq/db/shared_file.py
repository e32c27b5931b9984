"""One descriptor of each database file for all of this process: closing any drops SQLite's locks on the file in it."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock

from convoq.db.files import FileId, log_of

_CHUNK_BYTES = 1 << 20


class SharedFile:
    """A database file, open for reading for as long as it is in use here."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.uses = 0


lock = Lock()  #: around every look at what is in use, and every use
in_use: dict[FileId, SharedFile] = {}


def read_error(path: Path) -> OSError | None:
    """What the disk says when it can't give the whole file and its log; None: it gives them.

    SQLite tells no difference: a read that fails with EIO makes a file "malformed" (SQLITE_IOERR_CORRUPTFS).
    """
    with lock:
        try:
            shared = in_use.get(FileId.of(path.stat()))
            if shared is not None:
                _read(shared.descriptor)
            else:
                _read_file(path)
            _read_file(log_of(path))  # SQLite has no locks on it
        except FileNotFoundError:
            return None
        except OSError as error:
            return error
    return None


def _read_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _read(descriptor)
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> None:
    offset = 0
    while chunk := os.pread(descriptor, _CHUNK_BYTES, offset):
        offset += len(chunk)
