"""huey on SQLite under producers, each enqueue fsynced."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from huey import SqliteHuey

from benchmarks import messages
from benchmarks.producers import enough, flat_out
from convoq.jobs import NewJob


async def enqueue(*, directory: str, producers: int, seconds: float) -> dict[str, float]:
    prepared = messages.jobs(enough(producers, seconds), seed=1, people=10_000)
    huey = SqliteHuey(filename=str(Path(directory) / "huey.db"), fsync=True, results=False)
    task: Any = huey.task()(_handle)

    async def put(job: NewJob) -> None:
        # In the loop: a thread for each call only adds to its cost, and SQLite lets one write at a time anyway.
        task(job.payload, job.ordering_key)
        await asyncio.sleep(0)

    return await flat_out(put, prepared, producers=producers, seconds=seconds)


def _handle(payload: str, ordering_key: str) -> None:
    """Never run here: only enqueued."""
