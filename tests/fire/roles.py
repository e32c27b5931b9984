"""The processes under fire: each role is started again as soon as its process ends, and harmed on request."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from convoq.loopback.process import RoleProcess

RESTART_DELAY = 0.2  # seconds before a process that ended by itself is started again: systemd's RestartSec


class SupervisedRole:
    """One role of convoq that always runs, whatever is done to it."""

    def __init__(self, name: str, directory: Path, environ: Mapping[str, str], command: Sequence[str] = ()) -> None:
        """`command` is its command line, if it is not convoq's own."""
        self.name = name  #: "serve", "schedule", "work-1", ...
        self.kind = name.partition("-")[0]
        self.environ = dict(environ)
        self.directory = directory
        self.starts = 0
        self.paused = False
        self.unplanned: list[int] = []  #: exit codes of processes that ended without being killed or stopped
        self.log_of: Callable[[int], Path] = self._log_of  #: where the output of a start goes, by its number
        self._command = command
        self._process = RoleProcess(self.kind, self.environ)
        self._released = asyncio.Event()
        self._released.set()
        self._asked = False
        self._closing = False
        self._keeping: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Starts it; returns at once."""
        await self._start()
        self._keeping = asyncio.create_task(self._keep())

    @property
    def rss_mb(self) -> float:
        """0 while it does not run."""
        with suppress(OSError):
            return self._process.rss_mb
        return 0.0

    @property
    def peak_rss_mb(self) -> float:
        """0 while it does not run."""
        with suppress(OSError):
            return self._process.peak_rss_mb
        return 0.0

    @property
    def pid(self) -> int | None:
        """None unless it runs."""
        return self._process.pid

    @property
    def ready(self) -> bool:
        """Whether it runs and has said that it is at work."""
        return not self.paused and self._process.is_ready

    @property
    def stands_still(self) -> bool:
        """Whether every thread of it is stopped, or it has ended."""
        try:
            threads = list(Path(f"/proc/{self.pid}/task").iterdir())
            return all((thread / "stat").read_text().rpartition(")")[2].split()[0] in "TZX" for thread in threads)
        except OSError:
            return True

    def has_said(self, pattern: str) -> bool:
        """Whether the log of its present process has a line that the regular expression finds."""
        return re.search(pattern, self.log_of(self.starts).read_text(errors="replace")) is not None

    def kill(self) -> int | None:
        """SIGKILL; returns whose, None if it was not there."""
        pid = self.pid
        if pid is not None:
            self._asked = True
            self._process.kill()
        return pid

    def hold(self) -> None:
        """Once it has ended it stays down, as after exit code 78 under systemd, until it is released."""
        self._released.clear()

    def release(self) -> None:
        self._released.set()

    def hang_up(self) -> None:
        """SIGHUP."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGHUP)

    def pause(self) -> None:
        self._process.pause()
        self.paused = True

    def resume(self) -> None:
        self._process.resume()
        self.paused = False

    async def stop(self, timeout: float = 20.0) -> int | None:
        """Ends it in order and for good; its exit code, None when it had to be killed."""
        self._closing = True
        self.resume()
        self._process.terminate()
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
        await self._process.wait()

    async def _keep(self) -> None:
        while True:
            code = await self._process.wait()
            asked, self._asked = self._asked, False
            if self._closing:
                return
            if not asked:
                self.unplanned.append(code)
                await asyncio.sleep(RESTART_DELAY)  # the length of the pause is what is imitated
            await self._released.wait()
            await self._start()

    def _log_of(self, start: int) -> Path:
        return self.directory / f"{self.name}.{start}.log"

    async def _start(self) -> None:
        self.starts += 1
        self._process = RoleProcess(
            self.kind, self.environ, command=self._command, directory=self.directory,
            log=self.log_of(self.starts), death_signal=signal.SIGKILL,
        )  # fmt: skip
        await self._process.spawn()
