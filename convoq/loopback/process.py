"""A role of convoq as a child process: started, awaited until it is ready, harmed, stopped and measured."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from convoq.errors import ConvoqError

NOTIFY_SOCKET: Final = "NOTIFY_SOCKET"
START_TIMEOUT_SECONDS: Final = 30.0
_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None)


def convoq(*arguments: str) -> tuple[str, ...]:
    """The command line of this interpreter's convoq."""
    return (sys.executable, "-m", "convoq", *arguments)


def faulty_worker(switches_url: str) -> tuple[str, ...]:
    """The command line of a worker whose model has the faults that the switches at this address ask for."""
    return (sys.executable, "-m", "convoq.loopback.worker", switches_url)


class StartFailed(ConvoqError):
    """A process of convoq ended before it was ready, or did not get ready in time."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class RoleProcess:
    """One role in a process that can be started again; `command` is its command line, `convoq ROLE` if not given.

    Its output goes to the end of the file `log`, or where ours goes. It gets `death_signal` when this process dies, and
    is in a process group of its own: only this process hears the terminal's Ctrl-C. A NOTIFY_SOCKET in `environ` is
    left alone; then nothing is known of its readiness.
    """

    def __init__(
        self,
        role: str,
        environ: Mapping[str, str],
        *,
        command: Sequence[str] = (),
        directory: Path | None = None,
        log: Path | None = None,
        death_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.role = role
        self.log = log
        self._command = command or convoq(role)
        self._environ = environ
        self._directory = directory
        self._death_signal = death_signal
        self._process: asyncio.subprocess.Process | None = None
        self._readiness = _Readiness()

    @property
    def pid(self) -> int | None:
        """None unless it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    @property
    def exit_code(self) -> int | None:
        """None unless it has ended; negative: the signal that ended it."""
        return self._process.returncode if self._process else None

    @property
    def is_ready(self) -> bool:
        """Whether it runs and has said that it is at work."""
        return self.pid is not None and self._readiness.is_reached()

    async def spawn(self) -> None:
        """Starts it and returns at once."""
        self._readiness.close()
        self._readiness = _Readiness()
        told = {} if NOTIFY_SOCKET in self._environ else {NOTIFY_SOCKET: self._readiness.listen()}
        output = self.log.open("ab") if self.log else None
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=self._directory, env={**self._environ, **told}, stdin=asyncio.subprocess.DEVNULL,
                stdout=output, stderr=output, process_group=0, preexec_fn=_dies_with_parent(self._death_signal),
            )  # fmt: skip
        finally:
            if output:
                output.close()

    async def start(self) -> None:
        """Starts it and returns when it says that it is ready. Raises StartFailed."""
        await self.spawn()
        ready = asyncio.create_task(self._readiness.reached())
        ended = asyncio.create_task(self._ended())
        try:
            await asyncio.wait({ready, ended}, timeout=START_TIMEOUT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                return
            code = self.exit_code
        finally:
            for task in (ready, ended):
                task.cancel()
            await asyncio.gather(ready, ended, return_exceptions=True)
            self._readiness.close()
        if code is None:
            self.kill()
            raise StartFailed(f"`convoq {self.role}` was not ready within {START_TIMEOUT_SECONDS:g} s", 1)
        raise StartFailed(f"`convoq {self.role}` ended with exit code {code} before it was ready", code)

    async def wait(self) -> int:
        """Returns its exit code once it has ended, 0 if it was never started."""
        code = await self._ended()
        self._readiness.close()
        return code

    async def stop(self, timeout: float = 10.0) -> int:
        """SIGTERM, and SIGKILL after `timeout` seconds; returns the exit code."""
        self.terminate()
        try:
            async with asyncio.timeout(timeout):
                return await self.wait()
        except TimeoutError:
            self.kill()
            return await self.wait()

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def pause(self) -> None:
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    async def _ended(self) -> int:
        return await self._process.wait() if self._process else 0

    def _send(self, number: signal.Signals) -> None:
        if (pid := self.pid) is not None:
            # os.kill, not Process.send_signal: that one polls first, and may reap the exit code before asyncio does.
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    # --- What it wrote and what it takes

    @property
    def output(self) -> str:
        """All that it wrote to its log, over all its starts."""
        return self.log.read_text("utf-8", "replace") if self.log else ""

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events in its log, where that is JSON."""
        return [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]

    @property
    def cpu_seconds(self) -> float:
        """CPU time of all its threads so far, as the scheduler counts it (to the nanosecond, not to the tick)."""
        tasks = Path(f"/proc/{self.pid}/task")
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9

    @property
    def rss_mb(self) -> float:
        """The memory that it holds. Raises OSError unless it runs, as the other two figures do."""
        return self._memory_mb("VmRSS:")

    @property
    def peak_rss_mb(self) -> float:
        return self._memory_mb("VmHWM:")

    def _memory_mb(self, field: str) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
        raise ProcessLookupError(f"`convoq {self.role}` has ended")  # a zombie has no memory


class _Readiness:
    """Stands in for systemd, for as long as it takes until READY=1."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._reached = False

    def listen(self) -> str:
        """Returns the address that NOTIFY_SOCKET is to hold."""
        name = f"convoq-{secrets.token_hex(8)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.bind(f"\0{name}")
        self._socket.setblocking(False)
        return f"@{name}"

    def is_reached(self) -> bool:
        with suppress(BlockingIOError):
            while self._socket is not None:
                self._take(self._socket.recv(4096))
        return self._reached

    async def reached(self) -> None:
        loop = asyncio.get_running_loop()
        while self._socket is not None:
            self._take(await loop.sock_recv(self._socket, 4096))

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _take(self, message: bytes) -> None:
        if b"READY=1" in message.split(b"\n"):
            self._reached = True
            self.close()


def _dies_with_parent(death_signal: int) -> Callable[[], None]:
    def ask_kernel() -> None:
        # Runs between fork and exec: it may only do what needs no lock, and this is one system call.
        _libc.prctl(_PR_SET_PDEATHSIG, death_signal)

    return ask_kernel
