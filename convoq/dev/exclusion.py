"""One `convoq dev` a database, and no real role beside it: a worker takes whatever waits, and sends it its own way."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

from convoq.db import Database
from convoq.errors import ConvoqError
from convoq.monitoring.processes import Processes

LOCK: Final = "dev"  # in the database's run directory
LEAVING_SECONDS: Final = 3.0  # the worker of a dev that was killed ends within its drain
POLL_SECONDS: Final = 0.1


class DatabaseInUse(ConvoqError):
    """Another process works on the database that `convoq dev` was to use."""

    exit_code = 75


class Holder:
    """What the process that holds the lock says about itself."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def announce(self, url: str) -> None:
        """From now on a second `convoq dev` can name this one and its page."""
        os.pwrite(self._descriptor, json.dumps({"pid": os.getpid(), "url": url}).encode(), 0)


@contextmanager
def only_dev(database: Database) -> Iterator[Holder]:
    """Holds the database against a second `convoq dev`. Raises DatabaseInUse, which names the first."""
    # flock, not a pid in a file: the kernel releases it with its process, however that ends.
    descriptor = os.open(database.run_directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatabaseInUse(_already_runs(database.path, os.pread(descriptor, 4096, 0))) from None
        os.ftruncate(descriptor, 0)
        yield Holder(descriptor)
    finally:
        os.close(descriptor)


def _already_runs(path: Path, announced: bytes) -> str:
    try:
        first = json.loads(announced)
        who = f"pid {first['pid']}, phones at {first['url']}"
    except (ValueError, KeyError, TypeError):
        who = "it is starting"  # it has the lock and has announced nothing yet
    return f"{path}: convoq dev already runs on it ({who}): use that one, or give this one another --database"


async def refuse_beside_roles(database: Database) -> None:
    """Raises DatabaseInUse while a role of an installation runs on the database; to be asked under the lock.

    Waits a little for the end of one that is left over from a `convoq dev` that was killed.
    """
    deadline = monotonic() + LEAVING_SECONDS
    while running := await Processes(database).running():
        if monotonic() > deadline:
            role = running[0]
            raise DatabaseInUse(
                f"{database.path}: `convoq {role.role}` runs on it (pid {role.pid}), and would send what is meant for "
                f"the phones to real people, or this one theirs to the phones: give this one another --database"
            )
        await asyncio.sleep(POLL_SECONDS)
