"""A convoq process as a child of this one: started, awaited until it is ready, killed or stopped."""

from __future__ import annotations

import asyncio
import ctypes
import secrets
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from convoq.errors import ConvoqError

START_TIMEOUT: Final = 30.0
_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None)


def faulty_worker(switches_url: str) -> tuple[str, ...]:
    """What `python -m` runs for a worker whose model has the faults that the switches at this address ask for."""
    return ("convoq.loopback.worker", switches_url)


class ChildFailed(ConvoqError):
    """A process of convoq ended before it was ready."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Child:
    """One `python -m convoq ROLE`. It dies with its parent, and only its parent hears the terminal's Ctrl-C.

    Its output goes to the file `log`, or where ours goes. `command` is what `python -m` runs instead.
    """

    def __init__(
        self, role: str, environ: Mapping[str, str], *, log: Path | None = None, command: Sequence[str] = ()
    ) -> None:
        self.role = role
        self._command = command or ("convoq", role)
        self._environ = environ
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """None unless it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Returns when it says that it is ready. Raises ChildFailed."""
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)) as ready:
            address = f"convoq-{secrets.token_hex(8)}"
            ready.bind(f"\0{address}")
            ready.setblocking(False)
            self._process = await self._spawn({**self._environ, "NOTIFY_SOCKET": f"@{address}"})
            await self._ready(ready, self._process)

    async def wait(self) -> int:
        """Returns its exit code once it has ended; negative: the signal that ended it."""
        return await self._process.wait() if self._process else 0

    def kill(self) -> None:
        """SIGKILL: it gets no chance to tidy up."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def stop(self, timeout: float = 10.0) -> int:
        """Ends it in order; after `timeout` seconds without. Returns its exit code."""
        if self._process is None:
            return 0
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(timeout):
                return await self._process.wait()
        except TimeoutError:
            self.kill()
            return await self._process.wait()

    async def _spawn(self, environ: Mapping[str, str]) -> asyncio.subprocess.Process:
        output = self._log.open("ab") if self._log else None
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", *self._command,
                env=environ, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
                process_group=0, preexec_fn=_die_with_parent,
            )  # fmt: skip
        finally:
            if output:
                output.close()

    async def _ready(self, ready: socket.socket, process: asyncio.subprocess.Process) -> None:
        says = asyncio.create_task(_says_ready(ready))
        ended = asyncio.create_task(process.wait())
        try:
            await asyncio.wait({says, ended}, timeout=START_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
            if says.done():
                return
            code = process.returncode
        finally:
            for task in (says, ended):
                task.cancel()
            await asyncio.gather(says, ended, return_exceptions=True)
        if code is None:
            self.kill()
            raise ChildFailed(f"`convoq {self.role}` was not ready within {START_TIMEOUT:g} s", 1)
        raise ChildFailed(f"`convoq {self.role}` ended with exit code {code} before it was ready", code)


async def _says_ready(ready: socket.socket) -> None:
    """Returns when systemd would be told READY=1."""
    loop = asyncio.get_running_loop()
    while b"READY=1" not in (await loop.sock_recv(ready, 4096)).split(b"\n"):
        pass


def _die_with_parent() -> None:
    # Runs between fork and exec: it may only do what needs no lock, and this is one system call.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
