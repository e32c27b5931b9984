"""One installation of convoq: a directory, its convoq.toml, and the three roles as real processes."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.child import BenchmarkFailed, environment
from benchmarks.messages import ACCOUNT_SID, AUTH_TOKEN
from convoq.loopback.environment import free_port
from convoq.loopback.model import LoopbackModel
from convoq.loopback.process import RoleProcess, StartFailed, convoq
from convoq.loopback.twilio import LoopbackTwilio

LONGEST_STOP = 60.0


class Role(RoleProcess):
    """One running role; `ready_after` is how long its start took, in seconds, until it said that it was ready."""

    ready_after = 0.0

    async def start(self) -> None:
        """Raises BenchmarkFailed."""
        started = time.perf_counter()
        try:
            await super().start()
        except StartFailed:
            raise BenchmarkFailed(f"did not get ready; {self._tail()}") from None
        self.ready_after = time.perf_counter() - started

    async def ended(self, seconds: float) -> None:
        """Returns once it ended by itself. Raises BenchmarkFailed."""
        try:
            async with asyncio.timeout(seconds):
                code = await self.wait()
        except TimeoutError:
            raise BenchmarkFailed(f"did not end within {seconds:g} s; {self._tail()}") from None
        if code != 0:
            raise BenchmarkFailed(f"ended with {code}; {self._tail()}")

    def _tail(self) -> str:
        return f"its log ends: {' '.join(self.output.split())[-600:]}"


class Site:
    """Roles on one database. `settings` are further tables of convoq.toml, by table and option."""

    def __init__(self, directory: Path, settings: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.directory = directory
        self.database = directory / "convoq.db"
        self.port = free_port()
        self.public_url = f"http://127.0.0.1:{self.port}"
        self.config = directory / "convoq.toml"
        self.config.write_text(_toml(_defaults(self) | dict(settings or {})))
        self.config.chmod(0o600)

    @asynccontextmanager
    async def role(self, *arguments: str, **variables: str) -> AsyncIterator[Role]:
        """The role, ready; it is stopped afterwards if it has not ended by itself."""
        log = self.directory / f"{arguments[0]}-{time.monotonic_ns()}.log"
        role = Role(
            arguments[0], environment(**variables), command=[*command(), *arguments], directory=self.directory, log=log
        )
        try:
            await role.start()
            yield role
            if role.exit_code is None:
                role.terminate()
                await role.ended(LONGEST_STOP)
        finally:
            role.kill()
            await role.wait()


def command() -> Sequence[str]:
    """convoq as its users start it."""
    script = Path(sys.executable).with_name("convoq")
    return (str(script),) if script.exists() else convoq()


def answering(twilio: LoopbackTwilio, model: LoopbackModel) -> dict[str, dict[str, Any]]:
    """The settings of a site that answers people at once, with a model over HTTP."""
    return {
        "twilio": {
            "account_sid": twilio.account_sid,
            "auth_token": twilio.auth_token,
            "api_base_url": twilio.url,
            "pace": False,  # what convoq can, not what one sender may
        },
        "loops": {"guard": False, "max_replies_per_hour": 0},
        "notices.ai_disclosure": {"en": ""},
        "ai": {"model": "openai:gpt-5-mini", "base_url": model.base_url, "api_key": secrets.token_hex(8)},
        "conversation": {"quiet_window": 0.0},
    }


def _defaults(site: Site) -> dict[str, Mapping[str, Any]]:
    return {
        "database": {"path": str(site.database), "min_free_mb": 0},
        "server": {"port": site.port, "public_url": site.public_url},
        # The discard port, which is closed: nothing is ever sent.
        "twilio": {
            "account_sid": ACCOUNT_SID,
            "auth_token": AUTH_TOKEN,
            "api_base_url": "http://127.0.0.1:9",
            "pace": False,
        },
        "ai": {"model": "offline"},
        "log": {"level": "warning", "format": "json"},
    }


def _toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    lines: list[str] = []
    for table, options in tables.items():
        # JSON's strings, numbers and booleans are TOML's.
        lines += [f"[{table}]", *(f"{json.dumps(name)} = {json.dumps(value)}" for name, value in options.items())]
    return "\n".join(lines) + os.linesep
