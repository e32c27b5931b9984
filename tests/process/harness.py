"""Real convoq processes on a real file, with a loopback Twilio: started, killed, asked, and their books read."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from convoq.channels.twilio.webhooks import inbound_url
from convoq.loopback.environment import environment, reserved_port, without_settings
from convoq.loopback.messages import Answer
from convoq.loopback.process import RoleProcess
from convoq.loopback.twilio import LoopbackTwilio
from convoq.loopback.waiting import answers, until

ROOT_PATH = {"PYTHONPATH": str(Path(__file__).parents[2])}
NUMBER = "whatsapp:+15550009999"
LONGEST_WAIT = 90.0  # how long a state may take to come before the test fails: ten times that on a crowded machine


class Process(RoleProcess):
    """A process whose end a test waits for, and whose log is always kept."""

    async def ended(self) -> int:
        """Its exit code, once it has ended."""
        async with asyncio.timeout(LONGEST_WAIT):
            return await self.wait()


@dataclass
class Site:
    """One database, one loopback Twilio, any number of processes."""

    directory: Path
    twilio: LoopbackTwilio
    port: int
    settings: dict[str, str]
    processes: list[Process] = field(default_factory=list)

    @property
    def database(self) -> Path:
        return self.directory / "convoq.db"

    @property
    def webhook(self) -> str:
        return inbound_url(f"http://127.0.0.1:{self.port}")

    async def start(self, *arguments: str, program: tuple[str, ...] = ("-m", "convoq"), **env: str) -> Process:
        """Starts a process; returns at once."""
        process = Process(
            arguments[0], environment(without_settings(os.environ), {}) | ROOT_PATH | self.settings | env,
            command=(sys.executable, *program, *arguments), directory=self.directory,
            log=self.directory / f"{len(self.processes)}-{arguments[0]}.log", death_signal=signal.SIGKILL,
        )  # fmt: skip
        await process.spawn()
        self.processes.append(process)
        return process

    async def serve(self) -> Process:
        """`convoq serve`, ready for webhooks when this returns."""
        process = await self.start("serve")
        await self.until_ready(process)
        return process

    async def until_ready(self, process: Process | None = None) -> None:
        """Returns once webhooks are taken in."""

        async def is_ready() -> bool:
            assert process is None or process.exit_code is None, process.output
            return await answers(session, f"http://127.0.0.1:{self.port}/readyz")

        async with aiohttp.ClientSession() as session:
            await until(is_ready, timeout=LONGEST_WAIT)

    async def say(self, text: str, *, sender: str = "whatsapp:+15551230001", **options: Any) -> Answer:
        """One message of a person to our number, as Twilio delivers it."""
        return await self.twilio.deliver(self.webhook, from_=sender, to=NUMBER, body=text, **options)

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Asks the database from outside."""
        connection = sqlite3.connect(self.database, timeout=10)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Returns once the condition holds."""
        try:
            await until(condition, timeout=LONGEST_WAIT)
        except TimeoutError:
            raise AssertionError(f"did not happen: {what}\n{self.logs()}") from None

    async def until_quiet(self) -> None:
        """Returns once no job is left to run."""
        await self.until(lambda: not self.rows("SELECT 1 FROM lanes"), "the queue is empty")

    def logs(self) -> str:
        return "\n".join(f"--- {process.log}\n{process.output}" for process in self.processes)


@asynccontextmanager
async def open_site(directory: Path, **settings: str) -> AsyncIterator[Site]:
    """A site of its own; all its processes are gone afterwards."""
    async with LoopbackTwilio() as twilio:
        with reserved_port() as port:
            site = Site(directory, twilio, port, _settings(directory, twilio, port) | settings)
            try:
                yield site
            finally:
                for process in site.processes:
                    process.kill()
                    await process.wait()


def _settings(directory: Path, twilio: LoopbackTwilio, port: int) -> dict[str, str]:
    return {
        "CONVOQ_DATABASE__PATH": str(directory / "convoq.db"),
        "CONVOQ_DATABASE__MIN_FREE_MB": "0",
        "CONVOQ_SERVER__PORT": str(port),
        "CONVOQ_SERVER__PUBLIC_URL": f"http://127.0.0.1:{port}",
        "CONVOQ_TWILIO__ACCOUNT_SID": twilio.account_sid,
        "CONVOQ_TWILIO__AUTH_TOKEN": twilio.auth_token,
        "CONVOQ_TWILIO__API_BASE_URL": twilio.url,
        "CONVOQ_TWILIO__TIMEOUT": "1",
        "CONVOQ_TWILIO__RECONCILE_AFTER": "0.2",
        # As machines, tests write at once, and often the same.
        "CONVOQ_LOOPS__GUARD": "false",
        "CONVOQ_LOOPS__MAX_REPLIES_PER_HOUR": "0",
        "CONVOQ_TWILIO__PACE": "false",
        "CONVOQ_NOTICES__AI_DISCLOSURE": '{"en": ""}',
        "CONVOQ_QUEUE__BACKOFF_BASE": "0.05",
        "CONVOQ_AI__MODEL": "offline",
        "CONVOQ_CONVERSATION__QUIET_WINDOW": "0",
        "CONVOQ_CONVERSATION__MAX_WAIT": "5",
        "CONVOQ_LOG__FORMAT": "json",
    }
