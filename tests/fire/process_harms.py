"""Logs that are not read, signals, a process that stands still with the gate, clients that cling to connections."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic

from convoq.channels.twilio.webhooks import INBOUND_PATH
from convoq.db.locks import LockTable
from convoq.loopback.process import NOTIFY_SOCKET
from tests.fire.harmed import Harmed
from tests.fire.roles import SupervisedRole

CLINGING = 1100  # connections; serve has room for a thousand
LONGEST_HUNT = 20.0  # seconds until a process has been stopped while it held the gate


async def logs_unread(harmed: Harmed) -> None:
    """Every role starts on a pipe that is full, and works; it is read in the end."""
    roles = list(harmed.site.roles.values())
    pipes = [UnreadPipe(role) for role in roles]
    for role in roles:
        role.kill()
    await harmed.site.until_ready()
    await harmed.until_accepted(60)
    replies = len(harmed.site.twilio.messages)
    await harmed.site.until(lambda: len(harmed.site.twilio.messages) > replies + 5, "replies though no log is read")
    for pipe in pipes:
        pipe.read()
    await harmed.site.until(lambda: all(pipe.said for pipe in pipes), "the logs come once they are read")
    for role in roles:
        role.kill()
    await harmed.site.until_ready()
    for pipe in pipes:
        pipe.close()


class UnreadPipe:
    """What the role writes its log to from its next start on: full from the beginning, until it is read."""

    def __init__(self, role: SupervisedRole) -> None:
        self.said = b""
        self._role = role
        self._log_of = role.log_of
        self._path = role.directory / f"{role.name}.pipe"
        os.mkfifo(self._path)
        self._end = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)  # both ends: it opens without a reader
        self._filling = 0
        with suppress(BlockingIOError):
            while True:
                self._filling += os.write(self._end, b"\n" * 4096)
        role.log_of = lambda _: self._path

    def read(self) -> None:
        """From here on it is read, and the role's next start writes to a file again."""
        asyncio.get_running_loop().add_reader(self._end, self._read)
        self._role.log_of = self._log_of

    def close(self) -> None:
        """What was said, in whole lines, becomes the log of the start that said it."""
        asyncio.get_running_loop().remove_reader(self._end)
        self._log_of(0).write_bytes(self.said[: self.said.rfind(b"\n") + 1])
        os.close(self._end)
        self._path.unlink()

    def _read(self) -> None:
        with suppress(BlockingIOError):
            found = os.read(self._end, 1 << 16)
            filling = min(self._filling, len(found))
            self._filling -= filling
            self.said += found[filling:]


async def reloaded(harmed: Harmed) -> None:
    for role in harmed.site.roles.values():
        role.hang_up()
    for role in harmed.site.roles.values():
        await _until_said(harmed, role, "reload.finished")


async def terminal_closed(harmed: Harmed) -> None:
    """Started without a service manager, each role ends in order."""
    for role in harmed.site.roles.values():
        role.environ[NOTIFY_SOCKET] = ""
        starts, ends = role.starts, len(role.unplanned)
        role.kill()
        await harmed.site.until(lambda: role.starts > starts, f"{role.name} is started again")  # noqa: B023
        await _until_said(harmed, role, "role.started")
        del role.environ[NOTIFY_SOCKET]
        role.hang_up()
        await harmed.site.until(lambda: len(role.unplanned) > ends, f"{role.name} ends on SIGHUP")  # noqa: B023
        harmed.section.expect(role.unplanned[ends:] == [0], f"{role.name} ended with {role.unplanned[ends:]} on SIGHUP")


async def stopped_with_the_gate(harmed: Harmed) -> None:
    """A worker; serve answers 503 meanwhile, and says who holds it up."""
    worker, serve = harmed.site.workers[0], harmed.site.roles["serve"]
    try:
        if not await _stop_with_the_gate(harmed, worker):
            harmed.section.problems.append(f"not stopped with the gate within {LONGEST_HUNT:g} s")
            return
        await _until_said(harmed, serve, f'"database.gate_held".*process {worker.pid} ')
    finally:
        worker.resume()


async def _stop_with_the_gate(harmed: Harmed, role: SupervisedRole) -> bool:
    gate = (harmed.run_directory / "gate").stat()
    ends = monotonic() + LONGEST_HUNT
    while monotonic() < ends:
        role.pause()
        await harmed.site.until(lambda: role.stands_still, f"{role.name} stands still")
        if role.pid in LockTable().holders(gate):
            return True
        role.resume()
        await asyncio.sleep(0.01)  # it holds the gate for moments that nothing announces: try at another one
    return False


async def slow_connections(harmed: Harmed) -> None:
    async with _clinging(harmed.site.port):
        await harmed.until_accepted(100)


@asynccontextmanager
async def _clinging(port: int) -> AsyncIterator[None]:
    clients = [asyncio.create_task(_cling(port, number)) for number in range(CLINGING)]
    try:
        yield
    finally:
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


async def _cling(port: int, number: int) -> None:
    """A connection that says nothing or begins a request, and comes back as soon as it is thrown out."""
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"POST {INBOUND_PATH} HTTP/1.1\r\nHost: ".encode() if number % 2 else b"")
                await reader.read()
            finally:
                writer.transport.abort()


async def _until_said(harmed: Harmed, role: SupervisedRole, pattern: str) -> None:
    await harmed.site.until(lambda: role.has_said(pattern), f"{role.name} says {pattern}")
