"""Workers that die of their jobs, one process after the other, until one has drained the queue.

A job's payload says how long it takes (`seconds`), and whether it then ends its process as the kernel would (`kills`).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from convoq.db import Database
from convoq.handlers.base import ClaimContext, Handlers
from convoq.queue.service import QueueService
from convoq.queue.sqlite.backend import SqliteQueue
from convoq.settings import QueueSettings
from convoq.worker import Worker, WorkerTimings


async def handle(context: ClaimContext) -> None:
    [job] = context.claim.jobs
    payload = json.loads(job.payload)
    await asyncio.sleep(payload["seconds"])  # the length of the job is what the test sets
    if payload["kills"]:
        os.kill(os.getpid(), signal.SIGKILL)


async def work(path: Path, life: int, hold: float) -> None:
    async with await Database.open(path) as database:
        engine = SqliteQueue(database)
        worker = Worker(
            QueueService(engine, QueueSettings()),
            Handlers({"k": handle}),
            name=f"life{life}",
            concurrency=8,
            deadline=20.0,
            drain_timeout=1.0,
            timings=WorkerTimings(maintenance=0.02, suspect=0.05, suspect_hold=hold, drain_horizon=600.0),
        )
        await worker.run(asyncio.Event(), drain=True)
        await engine.close()


def main(path: str, hold: str) -> None:
    """Tells how many of them died."""
    deaths = 0
    while True:
        child = os.fork()
        if not child:
            asyncio.run(work(Path(path), deaths, float(hold)))
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            break
        deaths += 1
    sys.stdout.write(f"{deaths}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
