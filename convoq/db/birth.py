"""What may create the database, and what is refused because there was one: nothing is created over a loss."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import Enum
from pathlib import Path
from threading import Event
from time import monotonic
from typing import NamedTuple

from convoq.db import migrations
from convoq.db.failures import explain
from convoq.db.files import (
    create_private,
    give_to_owner_of,
    log_of,
    publish,
    refuse_network_filesystem,
    run_directory_of,
    shared_memory_of,
    uncreated,
)
from convoq.db.locks import holder_of
from convoq.errors import ConvoqError, DatabaseRefused, DatabaseUnavailable

# Half of SQLite's default: a message touches random pages of small indexes, and each goes to the log whole.
PAGE_BYTES = 2048
GATE = "gate"
LONGEST_BIRTH = 5.0  # seconds that a process which makes the file or its run directory is waited for
BIRTH_POLL = 0.01  # seconds


class OpenMode(Enum):
    """What opening may do to the file."""

    EXISTING = "existing"  #: nothing: it is there, and of this version's schema
    ROLE = "role"  #: migrate it; create it in a directory without a trace of one
    CREATE = "create"  #: the same, and create it where a run directory is left of one


class Place(NamedTuple):
    """Where a database is, through links: two names of one file must share one gate."""

    path: Path
    run_directory: Path
    created: bool = False  #: just now, by this process or another


def prepare(path: Path, mode: OpenMode) -> Place:
    """The file (0600) and its run directory (0700), created as far as the mode allows.

    Raises DatabaseRefused on a network filesystem, where nothing can be written, and where a file that was there is
    missing; ConvoqError where EXISTING finds none yet; DatabaseUnavailable when trying again may help.
    """
    path = path.resolve()
    place = Place(path, run_directory_of(path))
    try:
        # The traces first: a file always comes before its traces, so one that is born meanwhile is not taken for lost.
        traces = [trace for trace in (log_of(path), shared_memory_of(path), place.run_directory) if _is_there(trace)]
        if not _is_there(path):
            _refuse_to_create(place, traces, mode)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            refuse_network_filesystem(path.parent)
            _create(path)
            place = place._replace(created=True)
        refuse_network_filesystem(path.parent)
        if not path.is_file():
            raise DatabaseRefused(f"{path}: is not a file")
        if not _is_there(place.run_directory):
            _create_run_directory(place)
        if not _is_there(place.run_directory / GATE):
            raise DatabaseRefused(
                f"{place.run_directory / GATE}: is missing, and a process that still has it open would not wait for a "
                f"new one: stop all three roles, remove {place.run_directory}, start again"
            )
    except OSError as error:
        raise uncreated(path, error, "convoq needs a directory of its own that it can write to") from error
    return place


def missing(path: Path, traces: list[Path]) -> DatabaseRefused:
    """What to say of a file that is gone: what proves it, and what to do."""
    log = log_of(path)
    if log in traces:
        # SQLite deletes a log that it finds without its file or beside an empty one.
        return DatabaseRefused(
            f"{path}: is missing, but {log.name}, the log of one, is there and may hold messages: put the file back "
            f"beside it; if it is lost, move {log.name} and {shared_memory_of(path).name} away and restore a backup"
        )
    names = " and ".join(trace.name for trace in traces)
    return DatabaseRefused(
        f"{path}: is missing, but {names} beside it shows that there was one: put it back or restore a backup; "
        "to begin with an empty one, run convoq db migrate"
    )


def empty(path: Path) -> DatabaseRefused:
    return DatabaseRefused(
        f"{path}: is empty: put the right file back or restore a backup; "
        "if there never was anything in it, remove it and run convoq db migrate"
    )


def _is_there(path: Path) -> bool:
    """As exists(), but a link into nothing is there, and a disk that does not tell is an OSError."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _refuse_to_create(place: Place, traces: list[Path], mode: OpenMode) -> None:
    if traces and (mode is not OpenMode.CREATE or traces != [place.run_directory]):
        raise missing(place.path, traces)
    if mode is OpenMode.EXISTING:
        raise ConvoqError(f"no database at {place.path} yet: start convoq serve, or run convoq db migrate")


def _create(path: Path) -> None:
    """Makes it complete under another name: a process killed meanwhile leaves no file that looks like a loss."""
    new = path.with_name(path.name + ".new")
    with _alone_in(path.parent):
        if _is_there(path):  # another process was first
            return
        for leftover in (new, log_of(new), shared_memory_of(new)):
            leftover.unlink(missing_ok=True)
        create_private(new)
        try:
            with closing(sqlite3.connect(new, isolation_level=None)) as connection:
                # No process can open it under this name: one flush, before the rename, is enough.
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
                connection.execute("PRAGMA journal_mode = WAL")
                migrations.migrate(connection)
        except sqlite3.Error as error:
            raise explain(path, error) from error
        give_to_owner_of(path.parent, new)
        publish(new, path)
        new.unlink(missing_ok=True)


def _create_run_directory(place: Place) -> None:
    """With its gate from the first moment: a run directory without one was robbed of it."""
    new = place.run_directory.with_name(place.run_directory.name + ".new")
    with _alone_in(place.path.parent):
        new.mkdir(mode=0o700, exist_ok=True)
        (new / GATE).unlink(missing_ok=True)
        create_private(new / GATE)
        give_to_owner_of(place.path, new, new / GATE)
        try:
            os.rename(new, place.run_directory)  # noqa: PTH104 # fails where another process was first: it has a gate
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """One process of convoq at a time makes something there. Raises DatabaseUnavailable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor, directory)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path) -> None:
    """To make a file takes milliseconds: who holds the lock for seconds stands still, and no signal is heard here."""
    ends_at = monotonic() + LONGEST_BIRTH
    pause = Event()  # never set. Not time.sleep: a wall clock that libfaketime turns makes that fail (EINVAL)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() > ends_at:
                raise DatabaseUnavailable(_held(descriptor, directory)) from None
            pause.wait(BIRTH_POLL)
        else:
            return


def _held(descriptor: int, directory: Path) -> str:
    holder = holder_of(descriptor) or "another process"
    return (
        f"{directory}: {holder} has been about to create the database there for {LONGEST_BIRTH:g} s: "
        "a stopped one must go on (kill -CONT) or be ended"
    )
