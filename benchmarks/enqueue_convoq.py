"""convoq's queue under producers, as `serve` uses it."""

from __future__ import annotations

from pathlib import Path

from benchmarks import messages
from benchmarks.producers import enough, flat_out
from convoq.db import Database
from convoq.queue.service import QueueService
from convoq.queue.sqlite.backend import SqliteQueue
from convoq.settings.options import QueueSettings


async def enqueue(*, directory: str, producers: int, seconds: float) -> dict[str, float]:
    prepared = messages.jobs(enough(producers, seconds), seed=1, people=10_000)
    async with await Database.open(Path(directory) / "convoq.db") as database:
        await database.make_room()
        backend = SqliteQueue(database)
        queue = QueueService(backend, QueueSettings())
        result = await flat_out(queue.enqueue, prepared, producers=producers, seconds=seconds)
        await backend.close()
    return result
