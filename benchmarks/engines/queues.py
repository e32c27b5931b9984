"""In processes of their own: each queue under producers, and filled before it is drained."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks import messages
from benchmarks.backlog import job, payloads
from benchmarks.producers import enough, flat_out
from convoq.db import OpenMode
from convoq.db.opening import open_store
from convoq.jobs import NewJob
from convoq.queue.base import JobFilter, JobState
from convoq.queue.opening import OpenQueue, open_queue
from convoq.queue.service import QueueService
from convoq.settings.load import load

PEOPLE: Final = 10_000
CONNECTIONS: Final = 16  #: of procrastinate's pool: its default of four is no faster
BATCH: Final = 500  #: jobs of one enqueue, where a queue is only filled


@asynccontextmanager
async def _open(config: str) -> AsyncIterator[tuple[QueueService, OpenQueue]]:
    options = load(Path(config)).options
    async with open_store(options.database, mode=OpenMode.ROLE) as store, open_queue(store, options) as opened:
        yield QueueService(opened.queue, options.queue), opened


async def enqueue_convoq(*, config: str, producers: int, seconds: float) -> dict[str, float]:
    prepared = messages.jobs(enough(producers, seconds), seed=1, people=PEOPLE)
    async with _open(config) as (queue, _):
        return await flat_out(queue.enqueue, prepared, producers=producers, seconds=seconds)


async def enqueue_saq(*, url: str, producers: int, seconds: float) -> dict[str, float]:
    from redis.asyncio import Redis
    from saq.queue.redis import RedisQueue

    prepared = messages.jobs(enough(producers, seconds), seed=1, people=PEOPLE)
    queue = RedisQueue(Redis.from_url(url))
    await queue.connect()

    async def put(job: NewJob) -> None:
        # Its key is what tells duplicates apart, as ours does.
        await queue.enqueue("note", key=job.dedup_key, payload=job.payload)

    try:
        return await flat_out(put, prepared, producers=producers, seconds=seconds)
    finally:
        await queue.disconnect()


async def enqueue_procrastinate(*, url: str, producers: int, seconds: float) -> dict[str, float]:
    from procrastinate import App, PsycopgConnector

    prepared = messages.jobs(enough(producers, seconds), seed=1, people=PEOPLE)
    app = App(connector=PsycopgConnector(conninfo=url, max_size=CONNECTIONS))
    async with app.open_async():
        await app.schema_manager.apply_schema_async()

        async def put(job: NewJob) -> None:
            await app.configure_task("note", lock=job.ordering_key).defer_async(payload=job.payload)

        return await flat_out(put, prepared, producers=producers, seconds=seconds)


async def fill_convoq(*, config: str, count: int) -> None:
    jobs = [job(payload) for payload in payloads(count)]
    async with _open(config) as (queue, _):
        for start in range(0, len(jobs), BATCH):
            await queue.enqueue_many(jobs[start : start + BATCH])


async def count_done(*, config: str) -> int:
    async with _open(config) as (_, opened):
        return await opened.jobs.count(JobFilter(states=(JobState.DONE,)))


async def fill_procrastinate(*, count: int) -> None:
    app = importlib.import_module("benchmarks.engines.procrastinate_app").app
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        jobs = list(payloads(count))
        for start in range(0, count, BATCH):
            await asyncio.gather(*(_defer(app, payload) for payload in jobs[start : start + BATCH]))


async def _defer(app: Any, payload: dict[str, Any]) -> None:
    await app.configure_task("note", lock=payload["lane"]).defer_async(payload=payload)
