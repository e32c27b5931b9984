"""SQLite's errors, told apart and put into an operator's words."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from convoq.db.files import is_full, uncreated
from convoq.db.shared_file import read_error
from convoq.errors import ConvoqError, DatabaseRefused, DatabaseUnavailable, PlatformUnsupported

DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
UNTRUSTED = DAMAGED | {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
# What SQLite says where it cannot create or enlarge the files beside the database, whatever the reason.
NO_ROOM = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
NO_SEARCH = "no such module: fts5"
HINTS = {
    sqlite3.SQLITE_BUSY: "another program holds the database: end it, or wait",
    sqlite3.SQLITE_FULL: "the disk is full: free some space",
    sqlite3.SQLITE_IOERR: "the disk failed: look at the kernel's log",
    sqlite3.SQLITE_READONLY: "the file cannot be written: look at its owner, mode and mount",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened: look at its directory's owner and mode",
    sqlite3.SQLITE_NOMEM: "out of memory",
}


def explain(path: Path, error: Exception) -> Exception:
    """The error as one of ours where the file, the disk, a lock or the SQLite in use is at fault, else as it is."""
    if NO_SEARCH in str(error):
        return PlatformUnsupported("this SQLite has no FTS5, the search in texts: use a Python whose SQLite has it")
    code = _code(error)
    if code in DAMAGED:
        return damaged(path, str(error))
    if code in NO_ROOM and is_full(path.parent):
        code = sqlite3.SQLITE_FULL
    return DatabaseUnavailable(f"{path}: {HINTS[code]} ({error})") if code in HINTS else error


def damaged(path: Path, detail: str) -> ConvoqError:
    """DatabaseRefused, or DatabaseUnavailable where it is the disk that can't give what is in the file."""
    if error := read_error(path):
        return uncreated(path, error, "it must belong to the user that runs convoq")
    words = " ".join(detail.split())  # SQLite's own verdict has several lines
    return DatabaseRefused(
        f"{path}: is not a sound database ({words}): restore a backup, or save what can be read with sqlite3 .recover"
    )


def is_environmental(error: Exception) -> bool:
    """Whether the disk, a lock or the file is at fault, not the statement."""
    return _code(error) in HINTS or _code(error) in DAMAGED


def leaves_connection_untrusted(error: Exception) -> bool:
    """Whether the connection must be replaced: after a failed write its view of the file may be wrong."""
    return _code(error) in UNTRUSTED


def _code(error: Exception) -> int:
    """SQLite's primary result code; 0 for an error that is not SQLite's."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF if isinstance(error, sqlite3.Error) else 0
