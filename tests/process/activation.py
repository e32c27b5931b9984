"""A process as systemd starts it for a socket: the listener at descriptor 3, and a socket for its notifications."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from convoq.loopback.environment import environment, without_settings

# LISTEN_PID is the number of the very process that serves: only after the fork is it known.
LAUNCHER = """
import os, sys
os.dup2(int(sys.argv[1]), 3, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="convoq-serve.socket")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
ROOT = Path(__file__).parents[2]
PATIENCE = 30.0  #: seconds until a test fails over a state that does not come


@dataclass
class Activated:
    """One start; its socket goes on listening after its end, as systemd's does."""

    listener: socket.socket
    notified: socket.socket
    directory: Path
    process: asyncio.subprocess.Process | None = None
    states: list[str] = field(default_factory=list)

    @property
    def output(self) -> str:
        return (self.directory / "activated.log").read_text()

    @property
    def ended(self) -> bool:
        return self.process is not None and self.process.returncode is not None

    async def start(self, *program: str, **env: str) -> None:
        told = {"NOTIFY_SOCKET": str(self.notified.getsockname()), "PYTHONPATH": str(ROOT)}
        with (self.directory / "activated.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", LAUNCHER, str(self.listener.fileno()), *program,
                env=environment(without_settings(os.environ), {}) | told | env, cwd=self.directory,
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[self.listener.fileno()],
            )  # fmt: skip

    async def ask(self, path: str = "/twilio/inbound") -> str:
        """The head of the answer to one request on a connection of its own."""
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(*self.listener.getsockname())
            writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nBody".encode())
            try:
                return (await reader.readuntil(b"\r\n\r\n")).decode()
            finally:
                writer.transport.abort()

    async def status(self) -> str:
        """The next STATUS= that systemd is told."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE):
            while True:
                told = (await loop.sock_recv(self.notified, 4096)).decode()
                self.states += told.splitlines()
                for line in told.splitlines():
                    if line.startswith("STATUS="):
                        return line

    async def end(self) -> int:
        """Its exit code, once it has ended."""
        assert self.process is not None
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    async def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await self.end()


@asynccontextmanager
async def activation(directory: Path) -> AsyncIterator[Activated]:
    """A socket that may be served by one process after another; what still runs at the end is killed."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified,
    ):
        notified.bind(str(directory / "notify"))
        notified.setblocking(False)
        activated = Activated(listener, notified, directory)
        try:
            yield activated
        finally:
            if activated.process is not None:
                with suppress(ProcessLookupError):
                    activated.process.kill()
                await activated.process.wait()


def command(*arguments: str) -> Sequence[str]:
    return ("-m", "convoq", *arguments)
