"""A Redis server of the tests' own, from Debian's binary, in a temporary folder: never the machine's service."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from convoq.queue.redis.connection import Server
from tests.servers.postgres import free_port

START_TIMEOUT: Final = 60.0


class RedisServer:
    """One server on a Unix socket and a port of 127.0.0.1. It fsyncs each command before it answers, as in earnest."""

    def __init__(self, folder: Path, **options: str) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.port = free_port()
        self._options = {"appendonly": "yes", "appendfsync": "always", "save": ""} | options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def server(self) -> Server:
        return Server(self.url)

    def start(self) -> None:
        """Returns when it answers."""
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket),
            "dir": str(self.folder),
        } | self._options
        words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", *value.split(" "))]
        with (self.folder / "server.log").open("ab") as log:
            # The server must not outlive a test run that was killed.
            command = ["setpriv", "--pdeathsig", "KILL", "redis-server", *words]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise AssertionError((self.folder / "server.log").read_text(errors="replace"))
            time.sleep(0.01)  # between two looks at the server

    def _answers(self) -> bool:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.socket))
            client.sendall(b"PING\r\n")
            # With a password it says so; while it reads its log it says that.
            return client.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        return False

    async def follows(self) -> None:
        """Returns when, as a replica, it has what its primary has."""
        client = self.server.connect()
        deadline = time.monotonic() + START_TIMEOUT
        while (await client.info("replication"))["master_link_status"] != "up":
            assert time.monotonic() < deadline, (self.folder / "server.log").read_text(errors="replace")
            await asyncio.sleep(0.02)  # between two looks at the replica
        await client.aclose()

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(how)
            self._process.wait(START_TIMEOUT)
            self._process = None


@contextmanager
def running_redis(**options: str) -> Iterator[RedisServer]:
    """A server that its test alone uses, and may stop; skips the test where there is no binary."""
    if shutil.which("redis-server") is None or shutil.which("setpriv") is None:
        pytest.skip("Redis is not installed (Debian: apt install redis-server)")
    # Not pytest's tmp_path: it may be too long for a socket's name.
    folder = Path(tempfile.mkdtemp(prefix="convoq-redis-"))
    try:
        server = RedisServer(folder, **options)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One for all tests of this process, a prefix each: whoever must stop it takes a `running_redis()`."""
    with running_redis() as server:
        yield server
