"""A worker that notes what it was given and wakes a turn for it, all in transactions that also end its claims."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from typing import Final

from convoq.db.postgres.store import PostgresDatabase
from convoq.db.transaction import Transaction
from convoq.errors import LeaseLost
from convoq.handlers.base import ClaimContext, Handlers
from convoq.jobs import PEOPLE, NewJob
from convoq.queue.base import Claim
from convoq.queue.postgres.backend import PostgresQueue
from convoq.queue.service import QueueService
from convoq.settings import QueueSettings
from convoq.worker import Worker

LEASE: Final = 2.0  #: seconds
NOTE: Final = "note"
TURN: Final = "turn"
TABLE: Final = """
    CREATE TABLE notes (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, lane text NOT NULL, number bigint NOT NULL,
        answers bigint NOT NULL DEFAULT 0);
    CREATE INDEX notes_lane ON notes (lane)
"""


class Handling:
    """Each note once and in order, and each is answered by a turn of its lane."""

    def __init__(self, database: PostgresDatabase, queue: PostgresQueue) -> None:
        self._database = database
        self._queue = queue

    async def note(self, context: ClaimContext) -> None:
        await asyncio.sleep(random.uniform(0, 0.2))
        await self._database.write(self._take_note, context.claim)
        self._queue.joined.wake()
        context.acknowledged()

    def _take_note(self, tx: Transaction, claim: Claim) -> None:
        [job] = claim.jobs
        payload = json.loads(job.payload)
        tx.execute("INSERT INTO notes (lane, number) VALUES (:lane, :number)", payload)
        self._queue.joined.enqueue(tx, turn_of(payload["lane"]))
        self._end(tx, claim)

    async def turn(self, context: ClaimContext) -> None:
        [job] = context.claim.jobs
        lane = json.loads(job.payload)["lane"]
        waiting = await self._database.read(_waiting, lane)
        await asyncio.sleep(random.uniform(0, 0.1))
        await self._database.write(self._answer, context.claim, waiting)
        self._queue.joined.wake()
        context.acknowledged()

    def _answer(self, tx: Transaction, claim: Claim, notes: list[int]) -> None:
        tx.execute("UPDATE notes SET answers = answers + 1 WHERE id = ANY (CAST(:notes AS bigint[]))", {"notes": notes})
        self._end(tx, claim)

    def _end(self, tx: Transaction, claim: Claim) -> None:
        if not self._queue.joined.ack(tx, claim, forget=False):
            raise LeaseLost


def turn_of(lane: str) -> NewJob:
    payload = json.dumps({"lane": lane})
    return NewJob(kind=TURN, payload=payload, ordering_key=f"turn|{lane}", priority=PEOPLE, max_attempts=100)


def _waiting(tx: Transaction, lane: str) -> list[int]:
    found = tx.execute("SELECT id FROM notes WHERE lane = :lane AND answers = 0 ORDER BY id", {"lane": lane})
    return [note for (note,) in found]


async def main(url: str, name: str) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with await PostgresDatabase.open(url) as database:
        queue = PostgresQueue(database)
        handling = Handling(database, queue)
        worker = Worker(
            QueueService(queue, QueueSettings(visibility_timeout=LEASE, max_attempts=100, backoff_base=0.1)),
            Handlers({NOTE: handling.note, TURN: handling.turn}),
            name=name, concurrency=4, deadline=20.0, drain_timeout=1.0,
        )  # fmt: skip
        await worker.run(stopping)
        await queue.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
