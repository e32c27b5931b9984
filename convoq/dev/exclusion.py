"""One `convoq dev` a database, and no real role beside it: a worker takes whatever waits, and sends it its own way."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Final

from convoq.db import Database
from convoq.errors import ConvoqError, DatabaseRefused
from convoq.jobs import ProcessAiResponse, ReceiveMessage, SendMessage
from convoq.monitoring.processes import Processes
from convoq.queue.base import JobAdmin, JobFilter, JobState

LOCK: Final = "dev"  # in the database's run directory
LEAVING_SECONDS: Final = 3.0  # the worker of a dev that was killed ends within its drain
POLL_SECONDS: Final = 0.1
FOR_PEOPLE: Final = (ReceiveMessage.kind, ProcessAiResponse.kind, SendMessage.kind)


class DatabaseInUse(ConvoqError):
    """Another process works on the database that `convoq dev` was to use."""

    exit_code = 75


class Holder:
    """What the process that holds the lock says about itself."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def announce(self, url: str) -> None:
        """From now on a second `convoq dev` can name this one and its page."""
        self.write({"pid": os.getpid(), "url": url})

    def write(self, said: Mapping[str, object]) -> None:
        content = json.dumps(said).encode()
        os.pwrite(self._descriptor, content, 0)
        os.ftruncate(self._descriptor, len(content))


@asynccontextmanager
async def only_dev(database: Database, jobs: JobAdmin) -> AsyncIterator[Holder]:
    """Holds the database against a second `convoq dev`.

    Raises DatabaseInUse, which names who works on it, and DatabaseRefused where real people wait on it.
    """
    # flock, not a pid in a file: the kernel releases it with its process, however that ends.
    descriptor = os.open(database.run_directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatabaseInUse(_already_runs(database.path, os.pread(descriptor, 4096, 0))) from None
        holder = Holder(descriptor)
        # Once a dev has got through this the file has content: then it is phones that wait, and no real people.
        began_by_dev = os.fstat(descriptor).st_size > 0
        if began_by_dev:
            holder.write({})  # not what the last one announced
        else:
            await _refuse_waiting_people(database, jobs)
        await _refuse_beside_roles(database, patience=LEAVING_SECONDS if began_by_dev else 0.0)
        holder.write({})
        yield holder
    finally:
        os.close(descriptor)


def _already_runs(path: Path, announced: bytes) -> str:
    try:
        first = json.loads(announced)
        who = f"pid {first['pid']}, phones at {first['url']}"
    except (ValueError, KeyError, TypeError):
        who = "it is starting"  # it has the lock and has announced nothing yet
    return f"{path}: convoq dev already runs on it ({who}): use that one, or give this one another --database"


async def _refuse_waiting_people(database: Database, jobs: JobAdmin) -> None:
    count = await jobs.count(JobFilter(kinds=FOR_PEOPLE, states=(JobState.READY,)))
    if count:
        waiting = "1 job of an installation waits" if count == 1 else f"{count:,} jobs of an installation wait"
        raise DatabaseRefused(
            f"{database.path}: {waiting} there for an answer or a send, which would go to the phones instead of to "
            f"real people: give convoq dev another --database"
        )


async def _refuse_beside_roles(database: Database, *, patience: float) -> None:
    """`patience` is for the end of a worker that is left over from a `convoq dev` that was killed, in seconds."""
    deadline = monotonic() + patience
    while running := await Processes(database).running():
        if monotonic() > deadline:
            role = running[0]
            raise DatabaseInUse(
                f"{database.path}: `convoq {role.role}` runs on it (pid {role.pid}), and would send what is meant for "
                f"the phones to real people, or this one theirs to the phones: give this one another --database"
            )
        await asyncio.sleep(POLL_SECONDS)
