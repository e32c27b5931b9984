"""Keeps the worker process of `convoq dev` alive: whenever it dies, another one starts at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Final, Literal

from convoq.errors import ConfigError
from convoq.logs import log
from convoq.loopback.process import RoleProcess, StartFailed, faulty_worker

HEALTHY_AFTER_SECONDS: Final = 5.0  # a worker that lived shorter without being killed is one that crashes
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 10.0


class WorkerSupervisor:
    """The worker as a child process. `on_change` is called whenever something about it is different."""

    def __init__(self, environ: Mapping[str, str], switches_url: str) -> None:
        self.restarts = 0
        self.state: Literal["starting", "ready", "down"] = "down"
        self.news = ""  #: the last thing that happened to it, for people
        self.on_change: Callable[[], None] = lambda: None
        self._process = RoleProcess("work", environ, command=faulty_worker(switches_url))
        self._killed: int | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        return self._process.pid

    async def run(self) -> None:
        """Starts it again and again, until stop(). Raises ConfigError when it can never start."""
        crashes = 0
        while not self._stopping:
            began = monotonic()
            await self._run_once()
            healthy = self._killed is not None or monotonic() - began > HEALTHY_AFTER_SECONDS
            crashes = 0 if healthy else crashes + 1
            if not self._stopping:
                self.restarts += 1
                if crashes:
                    await asyncio.sleep(min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (crashes - 1)))

    def kill(self) -> int | None:
        """SIGKILL; returns the pid that is no more, None when none ran."""
        self._killed = self.pid
        if self._killed is not None:
            self._process.kill()
        return self._killed

    async def stop(self, timeout: float) -> None:
        """Ends it in order, for good."""
        self._stopping = True
        await self._process.stop(timeout)

    async def _run_once(self) -> None:
        """One life of it, from its start to its end."""
        killed, self._killed = self._killed, None
        began = monotonic()
        self._set_state("starting", self.news)
        try:
            await self._process.start()
        except StartFailed as failed:
            if failed.exit_code == ConfigError.exit_code:
                raise ConfigError("the worker cannot start; its own message stands above") from failed
            self._set_state("down", str(failed))
            return
        took = f"{monotonic() - began:.1f} s"
        self._set_state("ready", f"replaced {killed} in {took}" if killed else "")
        pid = self.pid
        code = await self._process.wait()
        if self._stopping:
            return
        log.warning("worker.died", pid=pid, code=code)
        self._set_state("down", f"{pid} is dead ({'SIGKILL' if code == -9 else f'code {code}'})")

    def _set_state(self, state: Literal["starting", "ready", "down"], news: str) -> None:
        self.state, self.news = state, news
        self.on_change()
