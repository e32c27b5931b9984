"""What every role does besides its work: hear signals, prove that it is alive, notice that its file is gone."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

from convoq import logs, systemd
from convoq.daemon.reload import Reload
from convoq.daemon.startup import started
from convoq.db.store import Store
from convoq.errors import ConvoqError, DatabaseUnavailable
from convoq.logs import log
from convoq.monitoring.processes import Processes

AT_ONCE_TIMEOUT = 5.0
UNSTARTED_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisionTimings:
    """All in seconds."""

    check: float = 2.0  #: between two looks at the file; at most half of what the watchdog allows
    announce: float = 10.0  #: between two announcements
    first_announcement: float = 2.0  #: a role is ready after its first announcement, or after so long without
    leave: float = 2.0  #: the end may wait so long until the process is taken off the list


class Stop:
    """Two signals: the first ends the process in order, the second at once.

    `grace` is how long, in seconds, an orderly end may take. One that is not `started` has nothing to end in order:
    whatever it waits for, such as the write gate, it ends within UNSTARTED_TIMEOUT.
    """

    def __init__(self, *, grace: float, started: bool = True) -> None:
        self._grace = grace
        self.started = started
        self.requested = asyncio.Event()
        self.at_once = asyncio.Event()
        self.error: ConvoqError | None = None  #: why it stopped by itself

    def request(self) -> None:
        """Ends the process in order; asked again, at once. It ends within the grace, whatever still holds it."""
        again = self.requested.is_set()
        if again:
            self.at_once.set()
        self.requested.set()
        loop = asyncio.get_running_loop()
        loop.call_later(AT_ONCE_TIMEOUT if again else self._grace, _end_process)
        if not self.started:
            loop.call_later(UNSTARTED_TIMEOUT, self._end_unstarted)

    def hang_up(self) -> None:
        """The terminal is closed: the end in order, also when the kernel and the shell both say so."""
        if not self.requested.is_set():
            self.request()

    def fail(self, error: ConvoqError) -> None:
        self.error = self.error or error
        self.requested.set()

    def _end_unstarted(self) -> None:
        # Cancelling is no way out: a thread that waits in flock can't be cancelled, and the end would wait for it.
        if not self.started:
            log.info("role.stopped")
            logs.flush()
            os._exit(0)


def _end_process() -> None:
    """Something can neither be finished nor cut off, such as a wait for a lock of a frozen process."""
    log.error("stop.forced")
    logs.flush()
    os._exit(1)


@contextmanager
def signals(stop: Stop, *, hangup: Callable[[], None] | None = None) -> Iterator[None]:
    """SIGTERM and SIGINT request the stop, and so does SIGHUP unless it is for `hangup` or ignored, as by nohup."""
    loop = asyncio.get_running_loop()
    handlers = {signal.SIGTERM: stop.request, signal.SIGINT: stop.request}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        handlers[signal.SIGHUP] = hangup or stop.hang_up
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


@asynccontextmanager
async def supervised(
    database: Store,
    role: str,
    stop: Stop,
    status: Callable[[], str],
    *,
    reload: Reload | None = None,
    timings: SupervisionTimings | None = None,
    **details: str | None,
) -> AsyncIterator[None]:
    """Around a role's work: it is announced and ready inside, its watchdog is fed, its file is watched, and it
    reloads its settings when it is asked to."""
    stop.started = True
    timings = timings or SupervisionTimings()
    announcer = _Announcer(Processes(database), role, stop, status)
    announcing = asyncio.create_task(announcer.run(timings.announce))
    with suppress(TimeoutError):
        await asyncio.wait_for(announcer.announced.wait(), timings.first_announcement)
    tasks = [announcing, asyncio.create_task(_watch(database, stop, status, timings.check))]
    for task in tasks:
        task.add_done_callback(lambda task: _supervision_ended(task, stop))
    systemd.notify(f"READY=1\nSTATUS={status()}")
    started()
    if reload is not None:
        tasks.append(asyncio.create_task(reload.run()))
    log.info("role.started", role=role, database=database.location, **details)
    try:
        yield
    finally:
        systemd.notify("STOPPING=1")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(ConvoqError, TimeoutError):
            async with asyncio.timeout(timings.leave):
                await announcer.leave()
        log.info("role.stopped", role=role)


def _supervision_ended(task: asyncio.Task[None], stop: Stop) -> None:
    """Unwatched, a process could go on with a file that is not the right one any more."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("watch.failed", error=repr(error))
        stop.fail(ConvoqError(f"the watch over the database failed: {error}"))


class _Announcer:
    """Keeps this process on the list of those that run."""

    def __init__(self, processes: Processes, role: str, stop: Stop, status: Callable[[], str]) -> None:
        self._processes = processes
        self._id = f"{role}-{secrets.token_hex(4)}"
        self._role = role
        self._stop = stop
        self._status = status
        self.announced = asyncio.Event()

    async def run(self, interval: float) -> None:
        # A task of its own: an announcement is a write, and waits for as long as another process holds the write gate.
        while await _answered(self._processes.announce(self._id, self._role, self._status()), self._stop):
            self.announced.set()
            await asyncio.sleep(interval)

    async def leave(self) -> None:
        await self._processes.leave(self._id)


async def _watch(database: Store, stop: Stop, status: Callable[[], str], interval: float) -> None:
    """The watchdog is fed only after the loop ran and the database answered a read."""
    interval = min(interval, systemd.watchdog_interval() or interval)
    while True:
        await asyncio.sleep(interval)
        if not await _answered(database.check(), stop):
            return
        systemd.notify(f"WATCHDOG=1\nSTATUS={status()}")


async def _answered(request: Awaitable[None], stop: Stop) -> bool:
    """Whether to go on after this request to the database. One that must not be used any more requests the stop."""
    try:
        await request
    except DatabaseUnavailable as error:
        # Locked or full for a while: this process is alive, and waits as the others do.
        log.warning("database.unavailable", error=str(error))
    except ConvoqError as error:
        log.error("database.refused", error=str(error))
        stop.fail(error)
        return False
    return True
