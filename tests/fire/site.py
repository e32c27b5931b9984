"""One convoq under fire: serve, schedule and two workers on one engine, with a Twilio and a model of their own."""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import aiohttp

from convoq.channels.twilio.webhooks import inbound_url
from convoq.clock import since_boot
from convoq.loopback.environment import environment, reserved_port, without_settings
from convoq.loopback.waiting import answers, until
from tests.fire.books import UNREADABLE, Row
from tests.fire.engines import Engine, open_engine
from tests.fire.peers import Model, Twilio
from tests.fire.roles import SupervisedRole

ROOT = Path(__file__).parents[2]
ROLES = ("serve", "schedule", "work-1", "work-2")
STATE_TIMEOUT = 60.0  # seconds for a state that comes within one or two when all is well

# Upkeep every second, so that conversations go idle, expire and reopen while people write.
CONFIG = """
[[schedules]]
name = "often-idle"
kind = "process_idle"
every = 1

[[schedules]]
name = "often-expired"
kind = "process_expired"
every = 2
"""


@dataclass
class Site:
    """What a scenario acts on."""

    directory: Path
    database: Path
    port: int
    twilio: Twilio
    model: Model
    roles: dict[str, SupervisedRole]
    unmet: list[str]  #: states that did not come in time
    engine: Engine

    @property
    def webhook(self) -> str:
        return inbound_url(f"http://127.0.0.1:{self.port}")

    @property
    def workers(self) -> list[SupervisedRole]:
        return [role for role in self.roles.values() if role.kind == "work"]

    def rows(self, sql: str, *values: object) -> list[Row]:
        """Asks the store from outside."""
        return self.engine.store.rows(sql, *values)

    def queue_now(self) -> int:
        """The queue's clock in the file, in ms."""
        [(anchor,)] = self.rows("SELECT anchor FROM clock")
        return int(anchor) + since_boot()

    async def until(self, condition: Callable[[], bool], what: str, patience: float = STATE_TIMEOUT) -> bool:
        """Returns once the condition holds; False, and a note of it, when it does not in time."""
        try:
            await until(lambda: _holds(condition), timeout=patience, pause=0.05)
        except TimeoutError:
            self.unmet.append(f"after {patience:g} s not yet so: {what}")
            return False
        return True

    async def until_ready(self) -> None:
        """Returns once all four are at work and serve answers."""
        await self.until(lambda: all(role.ready for role in self.roles.values()), "all roles are at work")
        url = f"http://127.0.0.1:{self.port}/readyz"
        async with aiohttp.ClientSession() as session:
            await until(lambda: answers(session, url), timeout=STATE_TIMEOUT, pause=0.05)

    async def until_down(self) -> None:
        """Returns once none of the four runs: for roles that are held."""
        await self.until(lambda: all(role.pid is None for role in self.roles.values()), "all roles have ended")

    async def drain(self) -> list[int | None]:
        """Lets everything come to its end, then stops the processes in order; their exit codes."""
        await self.until_ready()
        await self.until(self.engine.queue.is_quiet, "the queue is empty")
        codes = [await self.roles["schedule"].stop()]
        async with asyncio.timeout(STATE_TIMEOUT):
            await self.twilio.settled()
        await self.until(self.engine.queue.is_quiet, "the queue is empty after the last delivery status")
        codes += await asyncio.gather(*(self.roles[name].stop() for name in ROLES if name != "schedule"))
        return codes


@asynccontextmanager
async def open_site(
    directory: Path,
    *,
    engine: str = "sqlite",
    database: Path | None = None,
    modelled: bool = False,
    worker: Sequence[str] = (),
    **settings: str,
) -> AsyncIterator[Site]:
    """A site whose four roles are at work; no process of it is left afterwards, however it ends.

    The offline responder answers, or the loopback model where `modelled`. `worker` is the command line of the first
    worker, if it is not convoq's own; `settings` are environment variables.
    """
    _prepare(directory)
    database = database or directory / "data" / "convoq.db"
    twilio, model = Twilio(), Model()
    async with twilio, model, AsyncExitStack() as stack:
        port = stack.enter_context(reserved_port())
        opened = stack.enter_context(open_engine(engine, database))
        environ = _environment(twilio, port) | opened.settings | (_asking(model) if modelled else {}) | settings
        roles = {name: SupervisedRole(name, directory, environ, worker if name == "work-1" else ()) for name in ROLES}
        site = Site(directory, database, port, twilio, model, roles, [], opened)
        try:
            for role in roles.values():
                await role.open()
            await site.until_ready()
            yield site
        finally:
            await asyncio.gather(*(role.close() for role in roles.values()))


@cache
def frozen_code() -> Path:
    """A copy of convoq for this run: processes are started all the time, and all are to be of one version."""
    directory = Path(tempfile.mkdtemp(prefix="convoq-code-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    shutil.copytree(ROOT / "convoq", directory / "convoq", ignore=shutil.ignore_patterns("__pycache__"))
    return directory


def _prepare(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "convoq.toml").write_text(CONFIG)


def _environment(twilio: Twilio, port: int) -> dict[str, str]:
    return environment(without_settings(os.environ), {}) | {
        "PYTHONPATH": str(frozen_code()),
        "CONVOQ_DATABASE__MIN_FREE_MB": "0",
        "CONVOQ_SERVER__PORT": str(port),
        "CONVOQ_SERVER__PUBLIC_URL": f"http://127.0.0.1:{port}",
        "CONVOQ_TWILIO__ACCOUNT_SID": twilio.account_sid,
        "CONVOQ_TWILIO__AUTH_TOKEN": twilio.auth_token,
        "CONVOQ_TWILIO__API_BASE_URL": twilio.url,
        "CONVOQ_TWILIO__TIMEOUT": "2",
        "CONVOQ_TWILIO__RECONCILE_AFTER": "1",
        "CONVOQ_TWILIO__PACE": "false",
        "CONVOQ_LOOPS__GUARD": "false",
        "CONVOQ_LOOPS__MAX_REPLIES_PER_HOUR": "0",
        "CONVOQ_NOTICES__AI_DISCLOSURE": '{"en": ""}',
        "CONVOQ_QUEUE__VISIBILITY_TIMEOUT": "30",
        "CONVOQ_QUEUE__BACKOFF_BASE": "0.1",
        "CONVOQ_QUEUE__BACKOFF_CAP": "1",
        # A job that kills its worker is buried; here it is the driver who kills, far more often than any crash.
        "CONVOQ_QUEUE__MAX_ATTEMPTS": "50",
        "CONVOQ_AI__MODEL": "offline",
        "CONVOQ_CONVERSATION__QUIET_WINDOW": "0.1",
        "CONVOQ_CONVERSATION__MAX_WAIT": "1",
        "CONVOQ_CONVERSATION__IDLE_AFTER": "1",
        "CONVOQ_CONVERSATION__EXPIRE_AFTER": "2",
        "CONVOQ_LOG__FORMAT": "json",
    }


def _asking(model: Model) -> dict[str, str]:
    return {"CONVOQ_AI__MODEL": "fire", "CONVOQ_AI__BASE_URL": model.base_url, "CONVOQ_AI__TIMEOUT": "2"}


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except UNREADABLE:
        return False
