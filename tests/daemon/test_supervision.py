"""What every role does besides its work: it is announced, its watchdog is fed, its file is watched."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog

from convoq.daemon.supervision import Stop, SupervisionTimings, signals, supervised
from convoq.db import Database
from convoq.db.transaction import Transaction
from convoq.monitoring.processes import Processes

LONGEST_WAIT = 10.0  # seconds; nothing takes this long when all is well
QUICK = SupervisionTimings(check=0.02, announce=0.02, first_announcement=0.05, leave=0.05)


class Manager:
    """Stands in for systemd."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener

    async def heard(self, wanted: str) -> str:
        """The next message that contains it."""
        async with asyncio.timeout(LONGEST_WAIT):
            while wanted not in (message := (await self._receive()).decode()):
                pass
        return message

    async def _receive(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._listener, 4096)

    def heard_so_far(self) -> list[bytes]:
        messages = []
        try:
            while True:
                messages.append(self._listener.recv(4096))
        except BlockingIOError:
            return messages


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield Manager(listener)


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Database]:
    async with await Database.open(tmp_path / "convoq.db") as database:
        yield database


@contextmanager
def gate_held(tmp_path: Path) -> Iterator[None]:
    """As by another process that writes for long, or is frozen while it does."""
    descriptor = os.open(tmp_path / "convoq.db.run" / "gate", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


async def test_the_watchdog_is_fed_while_an_announcement_waits_for_the_write_gate(
    tmp_path: Path, opened: Database, manager: Manager
) -> None:
    async with supervised(opened, "work", Stop(grace=60), lambda: "busy", timings=QUICK):
        await manager.heard("READY=1")
        with gate_held(tmp_path):
            [announced] = await Processes(opened).seen()
            for _ in range(20):
                assert await manager.heard("WATCHDOG=1") == "WATCHDOG=1\nSTATUS=busy"
            [waiting] = await Processes(opened).seen()
        async with asyncio.timeout(LONGEST_WAIT):
            while (await Processes(opened).seen())[0].seen_at <= waiting.seen_at:
                await manager.heard("WATCHDOG=1")
    assert announced.id == waiting.id
    assert await Processes(opened).seen() == []


async def test_a_role_is_ready_although_its_first_announcement_waits(
    tmp_path: Path, opened: Database, manager: Manager
) -> None:
    with gate_held(tmp_path):
        async with supervised(opened, "work", Stop(grace=60), lambda: "busy", timings=QUICK):
            await manager.heard("READY=1")
            await manager.heard("WATCHDOG=1")


async def test_the_watchdog_is_not_fed_while_the_database_answers_no_read(opened: Database, manager: Manager) -> None:
    asked = asyncio.Queue[None]()

    def status() -> str:
        asked.put_nowait(None)
        return "busy"

    async with supervised(opened, "work", Stop(grace=60), status, timings=QUICK):
        await manager.heard("WATCHDOG=1")
        with reads_blocked(opened):
            for _ in range(2):  # the answer to a read before may still be on its way
                await asyncio.wait_for(announced(asked), LONGEST_WAIT)
            manager.heard_so_far()
            for _ in range(5):
                await asyncio.wait_for(announced(asked), LONGEST_WAIT)
            assert manager.heard_so_far() == []
        await manager.heard("WATCHDOG=1")


async def announced(asked: asyncio.Queue[None]) -> None:
    """Announcements are writes, and go on."""
    while not asked.empty():
        asked.get_nowait()
    await asked.get()


@contextmanager
def reads_blocked(database: Database) -> Iterator[None]:
    blocked, released = threading.Event(), threading.Event()

    def block(_: Transaction) -> None:
        blocked.set()
        released.wait(LONGEST_WAIT)

    reading = asyncio.ensure_future(database.read(block))
    try:
        yield
    finally:
        assert blocked.is_set()
        released.set()
        reading.add_done_callback(lambda task: task.result())


async def test_a_file_that_is_replaced_stops_the_role(tmp_path: Path, opened: Database, manager: Manager) -> None:
    stop = Stop(grace=60)
    with structlog.testing.capture_logs() as logs:
        async with supervised(opened, "work", stop, lambda: "busy", timings=QUICK):
            (tmp_path / "convoq.db").rename(tmp_path / "old")
            async with asyncio.timeout(LONGEST_WAIT):
                await stop.requested.wait()
    assert "moved, replaced or deleted" in str(stop.error)
    assert "database.refused" in [event["event"] for event in logs]


# --- Signals


async def signalled(numbers: list[signal.Signals], stop: Stop, **options: Callable[[], None]) -> None:
    """What these signals request, one after the other."""
    heard = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, heard.set)
    with signals(stop, **options):
        for number in (*numbers, signal.SIGUSR1):
            os.kill(os.getpid(), number)
        await asyncio.wait_for(heard.wait(), LONGEST_WAIT)
    asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)


@pytest.fixture
def hangups() -> Iterator[None]:
    previous = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, previous)


async def test_a_second_sigterm_ends_at_once_but_the_shell_may_repeat_the_kernels_hangup() -> None:
    terminated, hung_up = Stop(grace=60), Stop(grace=60)
    await signalled([signal.SIGTERM], terminated)
    await signalled([signal.SIGTERM], terminated)
    await signalled([signal.SIGHUP], hung_up)
    await signalled([signal.SIGHUP], hung_up)
    assert (terminated.requested.is_set(), terminated.at_once.is_set()) == (True, True)
    assert (hung_up.requested.is_set(), hung_up.at_once.is_set()) == (True, False)


async def test_a_hangup_that_is_for_something_else_stops_nothing() -> None:
    stop, reloads = Stop(grace=60), list[None]()
    await signalled([signal.SIGHUP], stop, hangup=lambda: reloads.append(None))
    assert (stop.requested.is_set(), reloads) == (False, [None])


async def test_a_hangup_that_nohup_ignores_stays_ignored(hangups: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = Stop(grace=60)
    await signalled([signal.SIGHUP], stop)
    assert not stop.requested.is_set()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
