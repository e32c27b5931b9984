"""The engines that the queue's contract is tested over: a new one adds one line to ENGINES.

A test that not every engine can pass names what it needs, and runs on those that offer it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest

from convoq.clock import Clock, WallClock
from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from convoq.db.store import Store
from convoq.db.transaction import Transaction
from convoq.jobs import NewJob
from convoq.queue.base import Capability, EndedJob, Ending, JobAdmin, Queue
from convoq.queue.following import BeginFollowUps, Joined, LaterFollowUps, SharedFollowUps
from convoq.queue.postgres.backend import PostgresQueue, PostgresTimings
from convoq.queue.redis.backend import RedisQueue
from convoq.queue.redis.connection import Server
from convoq.queue.redis.presence import PresenceTimings
from convoq.queue.sqlite.backend import SqliteQueue
from tests.clock import ManualClock
from tests.servers.postgres import empty_database
from tests.servers.sqlite import lay_database


class Engine(Queue, JobAdmin, Protocol):
    """What one of our engines is: the queue from both its sides."""


@dataclass(slots=True)
class Settler:
    """Notes what it is told of jobs that end, and returns those that are due instead."""

    told: list[tuple[Ending, list[EndedJob]]] = field(default_factory=list)
    due: Sequence[NewJob] = ()

    def __call__(self, tx: Transaction, ending: Ending, jobs: Sequence[EndedJob]) -> Sequence[NewJob]:
        self.told.append((ending, list(jobs)))
        return self.due


@dataclass(slots=True)
class Opened:
    """An engine, a store beside it, and what becomes of the effects of its jobs."""

    engine: Engine
    database: Store
    settler: Settler
    follow_ups: BeginFollowUps
    shared: Joined | None = None  #: with Capability.SHARED_COMMIT
    closed: bool = False

    @property
    def joined(self) -> Joined:
        assert self.shared is not None, "the test has to say that it needs Capability.SHARED_COMMIT"
        return self.shared

    async def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        await self.engine.close()
        await self.database.close()


async def open_sqlite(directory: Path, clock: Clock) -> Opened:
    database = await Database.open(lay_database(directory / "convoq.db"), clock=clock)
    settler = Settler()
    engine = SqliteQueue(database, settler, look=NEVER)
    return Opened(engine, database, settler, partial(SharedFollowUps, engine.joined), engine.joined)


class TestedEngine(NamedTuple):
    """How an engine is opened, and what it offers."""

    open: Callable[[Path, Clock], Coroutine[Any, Any, Opened]]
    capabilities: Capability


#: What a killed or closed process leaves is judged by one look: no test waits until it is certain.
AT_ONCE = PresenceTimings(absence=0.0, settling=0.0)
#: Seconds between two looks of an engine that is not woken: a wait that ends before was woken, or had its timer.
NEVER = 3600.0


async def open_redis(directory: Path, clock: Clock) -> Opened:
    """Beside a store of its own; the directory's name keeps the queues of two tests apart."""
    database = await Database.open(lay_database(directory / "convoq.db"), clock=clock)
    settler = Settler()
    by_hand = None if isinstance(clock, WallClock) else clock
    server = Server(os.environ[REDIS_URL])
    engine = RedisQueue(server, database, settler, prefix=str(directory), clock=by_hand, timings=AT_ONCE)
    return Opened(engine, database, settler, partial(LaterFollowUps, engine))


async def open_redis_beside_postgres(directory: Path, clock: Clock) -> Opened:
    """The same with its store on the one database that the tests of this process have one after the other."""
    by_hand = None if isinstance(clock, WallClock) else clock
    database = await PostgresDatabase.open(os.environ[POSTGRES_URL], clock=by_hand, pool=2)
    settler = Settler()
    server = Server(os.environ[REDIS_URL])
    engine = RedisQueue(server, database, settler, prefix=str(directory), clock=by_hand, timings=AT_ONCE)
    return Opened(engine, database, settler, partial(LaterFollowUps, engine))


async def open_postgres(directory: Path, clock: Clock) -> Opened:
    """On the one database that the tests of this process have one after the other."""
    by_hand = None if isinstance(clock, WallClock) else clock
    database = await PostgresDatabase.open(os.environ[POSTGRES_URL], clock=by_hand, pool=2)
    settler = Settler()
    engine = PostgresQueue(database, settler, timings=PostgresTimings(look=NEVER, death=0.0))
    return Opened(engine, database, settler, partial(SharedFollowUps, engine.joined), engine.joined)


ENGINES = {
    "sqlite": TestedEngine(open_sqlite, SqliteQueue.capabilities),
    "redis": TestedEngine(open_redis, RedisQueue.capabilities),
    "postgresql": TestedEngine(open_postgres, PostgresQueue.capabilities),
    "redis+postgresql": TestedEngine(open_redis_beside_postgres, RedisQueue.capabilities),
}
# Where the test's server is, also for its child processes.
REDIS_URL = "CONVOQ_TEST_REDIS"
POSTGRES_URL = "CONVOQ_TEST_POSTGRES"


@pytest.fixture
def engine_server(engine_name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the engine needs to run, if anything."""
    if engine_name.startswith("redis"):
        monkeypatch.setenv(REDIS_URL, request.getfixturevalue("redis_server").url)
    if engine_name.endswith("postgresql"):
        monkeypatch.setenv(POSTGRES_URL, request.getfixturevalue("migrated_postgres_url"))


def empty(engine_name: str) -> None:
    """For whoever begins anew within one test."""
    if engine_name.endswith("postgresql"):
        empty_database(os.environ[POSTGRES_URL])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test of the contract runs on every engine that offers what it needs."""
    if "engine_name" in metafunc.fixturenames:
        needed = [each for mark in metafunc.definition.iter_markers("needs") for each in mark.args]
        able = [name for name, tested in ENGINES.items() if all(each in tested.capabilities for each in needed)]
        metafunc.parametrize("engine_name", able)


class OpenEngine(Protocol):
    async def __call__(self, clock: Clock | None = None) -> Opened:
        """One more engine on the test's own queue, as another process would open it."""
        ...


@pytest.fixture
async def open_engine(
    engine_name: str, engine_server: None, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[OpenEngine]:
    manual, opened = clock, list[Opened]()

    async def open_one(clock: Clock | None = None) -> Opened:
        opened.append(await ENGINES[engine_name].open(tmp_path, clock or manual))
        return opened[-1]

    yield open_one
    for each in reversed(opened):
        await each.close()


@pytest.fixture
async def store(open_engine: OpenEngine) -> Opened:
    return await open_engine()


@pytest.fixture
def engine(store: Opened) -> Engine:
    return store.engine


# The child stops by itself when its stdin closes, so that an interrupted test run leaves no process behind.
_CHILD = """
import asyncio, sys
from pathlib import Path
from convoq.jobs import NewJob
from tests.clock import ManualClock
from tests.queue.conftest import ENGINES

async def main(name, directory, now, act, worker):
    engine = (await ENGINES[name].open(Path(directory), ManualClock(int(now)))).engine
    if act == "enqueue":
        [result] = await engine.enqueue([NewJob(kind="reply", payload="{}")], max_attempts=5)
        print("READY", result.job_id, flush=True)
    else:
        await engine.register(worker)
        claims = await engine.claim(100, lease=3600.0, worker=worker, together={"reply"})
        print("READY", len(claims), flush=True)
    await asyncio.to_thread(sys.stdin.read)

asyncio.run(main(*sys.argv[1:]))
"""


@dataclass(frozen=True, slots=True)
class Child:
    """A real process that holds the queue open; `said` is what it reported when it was ready."""

    process: asyncio.subprocess.Process
    said: str

    async def kill(self) -> None:
        """SIGKILL, and the process is gone when this returns."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()


class StartChild(Protocol):
    async def __call__(self, act: str, worker: str = "child") -> Child:
        """A process that registers and claims all that is due (act "claim") or enqueues one job ("enqueue")."""
        ...


@pytest.fixture
async def start_child(engine_name: str, tmp_path: Path, clock: ManualClock) -> AsyncIterator[StartChild]:
    children: list[Child] = []

    async def start(act: str, worker: str = "child") -> Child:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", _CHILD, engine_name, str(tmp_path), str(clock.now()), act, worker),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None
        word, _, said = (await process.stdout.readline()).decode().strip().partition(" ")
        children.append(Child(process, said))
        assert word == "READY", "the child process failed, see its stderr above"
        return children[-1]

    yield start
    for child in children:
        await child.kill()
