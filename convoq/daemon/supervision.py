"""What every role does besides its work: hear signals, prove that it is alive, notice that its file is gone."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from time import monotonic

from convoq import logs, systemd
from convoq.daemon.startup import started
from convoq.db import Database
from convoq.errors import ConvoqError, DatabaseUnavailable
from convoq.logs import log
from convoq.monitoring.processes import Processes

CHECK_INTERVAL = 2.0  # seconds between two looks at the file
ANNOUNCE_INTERVAL = 10.0
LEAVE_TIMEOUT = 2.0
AT_ONCE_TIMEOUT = 5.0


class Stop:
    """Two signals: the first ends the process in order, the second at once.

    `grace` is how long, in seconds, an orderly end may take.
    """

    def __init__(self, *, grace: float) -> None:
        self._grace = grace
        self.requested = asyncio.Event()
        self.at_once = asyncio.Event()
        self.error: ConvoqError | None = None  #: why it stopped by itself

    def request(self) -> None:
        """Ends the process in order; asked again, at once. It ends within the grace, whatever still holds it."""
        again = self.requested.is_set()
        if again:
            self.at_once.set()
        self.requested.set()
        asyncio.get_running_loop().call_later(AT_ONCE_TIMEOUT if again else self._grace, _end_process)

    def fail(self, error: ConvoqError) -> None:
        self.error = self.error or error
        self.requested.set()


def _end_process() -> None:
    """Something can neither be finished nor cut off, such as a wait for a lock of a frozen process."""
    log.error("stop.forced")
    logs.flush()
    os._exit(1)


@contextmanager
def signals(stop: Stop) -> Iterator[None]:
    """SIGTERM and SIGINT request the stop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.request)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


@asynccontextmanager
async def supervised(
    database: Database, role: str, stop: Stop, status: Callable[[], str], **details: str | None
) -> AsyncIterator[None]:
    """Around a role's work: it is announced and ready inside, its watchdog is fed, its file is watched."""
    processes = Processes(database)
    process_id = f"{role}-{secrets.token_hex(4)}"
    await processes.announce(process_id, role, status())
    watching = asyncio.create_task(_watch(database, processes, process_id, role, stop, status))
    watching.add_done_callback(lambda task: _watch_ended(task, stop))
    systemd.notify(f"READY=1\nSTATUS={status()}")
    started()
    log.info("role.started", role=role, database=str(database.path.absolute()), **details)
    try:
        yield
    finally:
        systemd.notify("STOPPING=1")
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        with suppress(ConvoqError, TimeoutError):
            async with asyncio.timeout(LEAVE_TIMEOUT):
                await processes.leave(process_id)
        log.info("role.stopped", role=role)


def _watch_ended(watching: asyncio.Task[None], stop: Stop) -> None:
    """Unwatched, a process could go on with a file that is not the right one any more."""
    if not watching.cancelled() and (error := watching.exception()) is not None:
        log.error("watch.failed", error=repr(error))
        stop.fail(ConvoqError(f"the watch over the database failed: {error}"))


async def _watch(
    database: Database, processes: Processes, process_id: str, role: str, stop: Stop, status: Callable[[], str]
) -> None:
    """The watchdog is fed only after the loop ran and the database answered."""
    announced = monotonic()
    interval = min(CHECK_INTERVAL, systemd.watchdog_interval() or CHECK_INTERVAL)
    while True:
        await asyncio.sleep(interval)
        try:
            await database.check()
            if monotonic() - announced >= ANNOUNCE_INTERVAL:
                announced = monotonic()
                await processes.announce(process_id, role, status())
        except DatabaseUnavailable as error:
            # Locked or full for a while: this process is alive and waits like everybody else.
            log.warning("database.unavailable", error=str(error))
        except ConvoqError as error:
            log.error("database.refused", error=str(error))
            stop.fail(error)
            return
        systemd.notify(f"WATCHDOG=1\nSTATUS={status()}")
