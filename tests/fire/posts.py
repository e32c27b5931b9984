"""The processes under fire: each post is filled again as soon as its process ends, and harmed on request."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic

RESPITE = 0.2  # seconds before a process that ended by itself is started again, as a service manager would
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Post:
    """One role of convoq that always runs, whatever is done to it."""

    def __init__(self, name: str, directory: Path, environ: Mapping[str, str]) -> None:
        self.name = name  #: "serve", "schedule", "work-1", ...
        self.role = name.partition("-")[0]
        self.environ = dict(environ)
        self.directory = directory
        self.starts = 0
        self.paused = False
        self.unplanned: list[int] = []  #: exit codes of processes that nobody had asked to end
        self.log = directory / f"{name}.0.log"
        self._process: asyncio.subprocess.Process | None = None
        self._asked = False
        self._closing = False
        self._keeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Starts it; returns at once."""
        await self._start()
        self._keeping = asyncio.create_task(self._keep())

    @property
    def pid(self) -> int | None:
        """None unless it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    @property
    def ready(self) -> bool:
        """Whether it runs and has said that it is at work."""
        return self.pid is not None and not self.paused and b'"event":"role.started"' in self.log.read_bytes()

    def kill(self) -> int | None:
        """SIGKILL; returns whose, None if it was not there."""
        pid = self.pid
        if pid is not None:
            self._asked = True
            self._signal(signal.SIGKILL)
        return pid

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        self._signal(signal.SIGCONT)
        self.paused = False

    async def stop(self, timeout: float = 20.0) -> int | None:
        """Ends it in order and for good; its exit code, None when it had to be killed."""
        self._closing = True
        self.resume()
        self._signal(signal.SIGTERM)
        if self._process is None:
            return 0
        try:
            async with asyncio.timeout(timeout):
                return await self._process.wait()
        except TimeoutError:
            await self.close()
            return None

    async def close(self) -> None:
        """Nothing of it is left afterwards."""
        self._closing = True
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        self.kill()
        if self._process is not None:
            await self._process.wait()

    async def _keep(self) -> None:
        while self._process is not None:
            code = await self._process.wait()
            asked, self._asked = self._asked, False
            if self._closing:
                return
            if not asked:
                self.unplanned.append(code)
                await asyncio.sleep(RESPITE)  # as systemd's RestartSec does
            await self._start()

    async def _start(self) -> None:
        self.starts += 1
        self.started_at = monotonic()
        self.log = self.directory / f"{self.name}.{self.starts}.log"
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command(), cwd=self.directory, env=self.environ, stdin=asyncio.subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True, preexec_fn=_die_with_parent,
            )  # fmt: skip

    def _command(self) -> Sequence[str]:
        return (sys.executable, "-m", "convoq", self.role)

    def _signal(self, number: signal.Signals) -> None:
        if (pid := self.pid) is not None:
            # Not through asyncio, whose own way of sending may take the exit code before asyncio's watcher does.
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _die_with_parent() -> None:
    # Between fork and exec only what needs no lock is allowed, and this is one system call.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
