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
from convoq.conversations.outbox import Outbox
from convoq.conversations.recording import Received, Recorder
from convoq.conversations.records import Draft
from convoq.conversations.turns import Turns
from convoq.db import Database
from convoq.jobs import PEOPLE, NewJob, ProcessAiResponse, conversation_key, raw_job
from convoq.monitoring.processes import Processes
from convoq.monitoring.roles import ROLES
from convoq.queue.base import Claim
from convoq.queue.sqlite.backend import SqliteQueue

T = TypeVar("T")

OURS = "whatsapp:+14155238886"
ANA = "whatsapp:+34600000001"
ACCOUNT = "AC" + 32 * "a"
TOKEN = "canary-7f3a9c"


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
        self.prepare(lambda _: asyncio.sleep(0))

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
        while claims := await engine.claim(100, lease=60, worker="w"):
            for claim in claims:
                await engine.bury(claim, claim.jobs, error=error)
        return ids
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
    claim = await claim_one(database, job)
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
    return ProcessAiResponse(form=form).job(
        ordering_key=conversation_key("twilio", OURS, address), dedup_key=f"in:{sid}", priority=PEOPLE
    )


async def receive(
    database: Database, text: str, *, sid: int = 1, address: str = ANA, name: str = "Ana", reply: str | None = None,
    delivered: bool = True, draft: str | None = None,
) -> int:  # fmt: skip
    """A person's message, taken up by a worker; answered if there is a `reply`. Returns its conversation."""
    engine, turns, outbox = SqliteQueue(database), Turns(database), Outbox(database)
    try:
        await engine.enqueue([inbound_job(text, sid, address=address, name=name)], max_attempts=8)
        claim = await _claim_of(engine, conversation_key("twilio", OURS, address))
        fence = engine.fence(claim)
        form = json.loads(claim.jobs[-1].payload)["form"]
        message = Received(parse_inbound(form), claim.jobs[-1].id, claim.jobs[-1].enqueued_at)
        conversation_id = await Recorder(database).record([message], fence)
        turn = await turns.turn(conversation_id, [job.id for job in claim.jobs])
        if draft is not None:
            await turns.save_draft(turn, Draft(draft, "test:model"), fence)
        if reply is None:
            await engine.nack(claim, delay=0)
            return conversation_id
        await turns.commit_reply(turn, reply, [reply], fence, even_if_newer=False)
        if delivered:
            pending = await outbox.next_pending(conversation_id)
            assert pending is not None
            await outbox.mark_sending(pending[0], fence)
            await outbox.mark_sent(pending[0], f"SM{sid + 1000:032x}")
        await engine.ack(claim)
        return conversation_id
    finally:
        await engine.close()


TURNS = frozenset({ProcessAiResponse.kind})


async def _claim_of(engine: SqliteQueue, lane: str) -> Claim:
    claims = {claim.lane: claim for claim in await engine.claim(100, lease=60, worker="w", together=TURNS)}
    wanted = claims.pop(lane)
    for other in claims.values():
        await engine.nack(other, delay=0)
    return wanted
