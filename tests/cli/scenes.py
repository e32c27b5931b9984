"""What the commands are tested on: real jobs and conversations, made by the parts that make them in production."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from convoq.channels.twilio.inbound import parse_inbound
from convoq.cli import main
from convoq.clock import WallClock
from convoq.conversations.loops import LoopRules
from convoq.conversations.outbox import Outbox
from convoq.conversations.recording import Received, Recorded, Recorder
from convoq.conversations.records import Answer, OutboxRow, Turn
from convoq.conversations.settling import Settling
from convoq.conversations.threads import Thread
from convoq.conversations.turn_steps import TurnRules
from convoq.conversations.turns import Turns
from convoq.db import Database
from convoq.db.transaction import Transaction
from convoq.handlers.receive import enqueue_turns
from convoq.jobs import NewJob, ProcessAiResponse, ReceiveMessage, raw_job, receive_job
from convoq.monitoring.processes import Processes
from convoq.monitoring.roles import ROLES
from convoq.queue.base import Claim
from convoq.queue.sqlite.backend import SqliteQueue
from tests.handovers import NOBODY_LOOKS
from tests.servers.sqlite import lay_database

T = TypeVar("T")

OURS = "whatsapp:+14155238886"
ANA = "whatsapp:+34600000001"
ACCOUNT = "AC" + 32 * "a"
TOKEN = "canary-7f3a9c"
RULES = TurnRules(
    quiet_window=0,
    max_wait=20_000,
    max_tries=12,
    max_requests=6,
    max_output_tokens=10_000,
    handover=NOBODY_LOOKS,
    loops=LoopRules(guard=True, most_replies=0),
)


@dataclass
class Place:
    """A directory with a convoq.toml and the database that it names."""

    directory: Path

    def __post_init__(self) -> None:
        self.config = self.directory / "convoq.toml"
        self.database = self.directory / "convoq.db"
        self.configure("")

    def configure(self, text: str) -> None:
        self.config.write_text(text)
        self.config.chmod(0o600)

    def run(self, *arguments: str) -> int:
        return main(["--config", str(self.config), *arguments])

    def prepare(self, work: Callable[[Database], Awaitable[T]]) -> T:
        """Does something with the open database, before or between commands."""

        async def run() -> T:
            async with await Database.open(self.database) as database:
                return await work(database)

        return asyncio.run(run())

    def create_database(self) -> None:
        lay_database(self.database)

    def execute(self, sql: str, *values: object) -> list[Any]:
        """For what no part of convoq would do, and to look at what was done."""
        return self.prepare(lambda database: database.write(lambda c: c.execute(sql, values).fetchall()))


async def announce(database: Database, *roles: str) -> None:
    """A process of each role (default: all) is there."""
    for role in roles or ROLES:
        await Processes(database).announce(f"{role}-1", role, "fine\x1b[2J")


def job(kind: str = "greet", number: int = 0, **options: Any) -> NewJob:
    return raw_job(kind, {"number": number}, **options)


async def enqueue(database: Database, jobs: Sequence[NewJob], *, max_attempts: int = 8) -> list[str]:
    engine = SqliteQueue(database)
    try:
        return [done.job_id for done in await engine.enqueue(jobs, max_attempts=max_attempts)]
    finally:
        await engine.close()


async def bury(database: Database, jobs: Sequence[NewJob], error: str = "ValueError: no such customer") -> list[str]:
    """Enqueues the jobs and lets them end in the dead letters."""
    engine = SqliteQueue(database)
    try:
        ids = [done.job_id for done in await engine.enqueue(jobs, max_attempts=8)]
        while claims := await engine.claim(100, lease=60, worker="w", reserve=100):
            for claim in claims:
                await engine.bury(claim, claim.jobs, error=error)
        return ids
    finally:
        await engine.close()


async def fail_turn(database: Database, error: str) -> None:
    """The turn that waits ends in the dead letters, as a worker leaves it."""
    engine = SqliteQueue(database, Settling(database.clock, WallClock()))
    try:
        [claim] = await engine.claim(1, lease=60, worker="w")
        await engine.bury(claim, claim.jobs, error=error)
    finally:
        await engine.close()


async def claim_one(database: Database, job: NewJob) -> Claim:
    """Enqueues a job and leaves it running."""
    engine = SqliteQueue(database)
    try:
        await engine.enqueue([job], max_attempts=8)
        (claim,) = await engine.claim(1, lease=600, worker="w")
        return claim
    finally:
        await engine.close()


async def snooze(database: Database, job: NewJob, reason: str) -> None:
    """Enqueues a job that was claimed and given back for an hour."""
    await put_back(database, await claim_one(database, job), reason)


async def put_back(database: Database, claim: Claim, reason: str) -> None:
    """For an hour."""
    engine = SqliteQueue(database)
    try:
        await engine.nack(claim, delay=3600.0, reason=reason)
    finally:
        await engine.close()


def inbound_job(text: str, sid: int, *, address: str = ANA, name: str = "Ana") -> NewJob:
    """What the webhook makes of a message."""
    form = (
        ("MessageSid", f"SM{sid:032x}"), ("From", address), ("To", OURS), ("Body", text), ("ProfileName", name),
        ("AccountSid", ACCOUNT),
    )  # fmt: skip
    return receive_job(ReceiveMessage(form=form), OURS, address, dedup_key=f"in:{sid}")


async def receive(
    database: Database, text: str, *, sid: int = 1, address: str = ANA, name: str = "Ana", reply: str | None = None,
    delivered: bool = True,
) -> int:  # fmt: skip
    """A person's message, recorded by a worker; answered if there is a `reply`. Returns its conversation."""
    engine, wall = SqliteQueue(database), WallClock()
    turns, outbox = Turns(database, wall, RULES), Outbox(database, wall)
    try:
        await engine.enqueue([inbound_job(text, sid, address=address, name=name)], max_attempts=8)
        [claim] = await engine.claim(0, lease=60, worker="w", reserve=1)
        form = json.loads(claim.jobs[-1].payload)["form"]
        message = Received(parse_inbound(form), claim.jobs[-1].id, claim.jobs[-1].enqueued_at)

        def wake(tx: Transaction, recorded: Recorded) -> Thread:
            enqueue_turns(engine.joined, tx, recorded.threads)
            engine.joined.ack(tx, claim, forget=False)
            return recorded.threads[0]

        thread, _ = await Recorder(database, wall, NOBODY_LOOKS).record([message], wake)
        turn = await turns.look(thread.id, None, "0")
        assert isinstance(turn, Turn)
        if reply is None:
            await turns.give_back(turn)
            return turn.conversation.id
        claims = await engine.claim(100, lease=60, worker="w", together=frozenset({ProcessAiResponse.kind}))
        sending = await turns.commit(turn, Answer(text=reply, parts=(reply,), model="test:model", written_at=1))
        assert isinstance(sending, OutboxRow)
        if delivered:
            await outbox.mark_sent(sending, f"SM{sid + 1000:032x}")
        for claim in claims:
            if claim.lane == thread.lane:
                await engine.ack(claim, forget=True)
            else:
                await engine.nack(claim, delay=0)
        return turn.conversation.id
    finally:
        await engine.close()
