"""Fills queues before they are drained: the same payloads for each contestant."""

from __future__ import annotations

import asyncio
import importlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import messages
from convoq.db import Database
from convoq.jobs import NewJob, raw_job
from convoq.queue.service import QueueService
from convoq.queue.sqlite.backend import SqliteQueue
from convoq.settings.options import QueueSettings

KIND = "bench.note"


def payloads(count: int, in_a_lane: int = 1) -> Iterator[dict[str, Any]]:
    """Messages of many conversations, so many in each on average, each numbered within its own."""
    chance = random.Random(4)
    people = max(1, count // in_a_lane)
    numbers: dict[str, int] = {}
    for form in messages.forms(count, seed=4, people=people):
        person = chance.randrange(people) if in_a_lane > 1 else len(numbers)
        lane = f"twilio|{messages.OUR_ADDRESS}|whatsapp:+1555{person:07d}"
        numbers[lane] = numbers.get(lane, 0) + 1
        yield {"lane": lane, "number": numbers[lane], "of": count, "form": form}


async def fill_convoq(*, database: str, count: int, in_a_lane: int) -> None:
    jobs = [job(payload) for payload in payloads(count, in_a_lane)]
    async with await Database.open(Path(database)) as opened:
        backend = SqliteQueue(opened)
        queue = QueueService(backend, QueueSettings())
        for start in range(0, len(jobs), 500):
            await queue.enqueue_many(jobs[start : start + 500])
        await backend.close()


def job(payload: dict[str, Any]) -> NewJob:
    sid = dict(payload["form"])["MessageSid"]
    return raw_job(KIND, payload, ordering_key=payload["lane"], dedup_key=f"bench:{sid}")


async def fill_taskiq(*, count: int) -> None:
    app = importlib.import_module("benchmarks.taskiq_app")
    await app.broker.startup()
    waiting = payloads(count)

    async def produce() -> None:
        for payload in waiting:
            await app.note.kiq(payload)

    await asyncio.gather(*(produce() for _ in range(64)))
    await app.broker.shutdown()


async def fill_huey(*, count: int) -> None:
    app = importlib.import_module("benchmarks.huey_app")
    app.huey.storage.conn.execute("PRAGMA synchronous = OFF")  # only the drain is measured
    for payload in payloads(count):
        app.note(payload)
