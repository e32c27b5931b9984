"""Workers are killed, and stopped for longer than their leases: nothing is lost, doubled or out of order."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections import Counter
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from convoq.jobs import NewJob
from convoq.loopback.waiting import until
from convoq.queue.base import JobFilter, JobState
from convoq.queue.postgres.backend import PostgresQueue
from tests.queue.postgres.chaos_worker import LEASE, NOTE, TABLE
from tests.queue.postgres.steps import OpenQueue

pytestmark = [pytest.mark.fire, pytest.mark.process, pytest.mark.long]

ROOT = Path(__file__).parents[3]
SECONDS = 10.0
WORKERS = 3
LANES = 12
PAUSE = 0.02  #: seconds between two enqueues
READY = JobFilter(states=(JobState.READY,))


class Workers:
    """Real processes, of which harm comes to one after the other."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._numbers = count()
        self._chance = random.Random(1)
        self.processes: list[Process] = []
        self.harms: Counter[str] = Counter()

    async def begin(self) -> None:
        command = ("-m", "tests.queue.postgres.chaos_worker", self._url, f"worker{next(self._numbers)}")
        process = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=ROOT, stdout=DEVNULL)
        self.processes.append(process)

    async def harm_until(self, ends_at: float) -> None:
        while asyncio.get_running_loop().time() < ends_at:
            await asyncio.sleep(self._chance.uniform(0.1, 0.5))
            await self._harm(self._chance.choice(self.processes))

    async def _harm(self, victim: Process) -> None:
        if self._chance.random() < 0.5:
            self.harms["kill"] += 1
            victim.kill()
            await victim.wait()
            if victim in self.processes:  # another harm may have come to it as well
                self.processes.remove(victim)
                await self.begin()
        else:
            self.harms["stop"] += 1
            with suppress(ProcessLookupError):
                victim.send_signal(signal.SIGSTOP)
                await asyncio.sleep(LEASE * 1.5)  # others have taken over by then
                victim.send_signal(signal.SIGCONT)

    async def end(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def produce(queue: PostgresQueue, until: float) -> int:
    """How many notes each lane gets."""
    loop = asyncio.get_running_loop()
    for number in count():
        if loop.time() > until:
            return number
        jobs = [
            NewJob(kind=NOTE, payload=json.dumps({"lane": lane, "number": number}), ordering_key=f"in|{lane}")
            for lane in map(str, range(LANES))
        ]
        await queue.enqueue(jobs, max_attempts=100)
        await asyncio.sleep(PAUSE * LANES)
    raise AssertionError


async def test_nothing_is_lost_doubled_or_out_of_order(open_queue: OpenQueue, postgres_url: str) -> None:
    queue = await open_queue(postgres_url, by_hand=False)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(TABLE)
        workers = Workers(postgres_url)
        try:
            for _ in range(WORKERS):
                await workers.begin()
            loop = asyncio.get_running_loop()
            ends_at = loop.time() + SECONDS
            producing = asyncio.create_task(produce(queue, ends_at))
            await asyncio.gather(*(workers.harm_until(ends_at) for _ in range(WORKERS - 1)))
            numbers = await producing

            async def is_over() -> bool:
                return await queue.count(READY) == 0

            await until(is_over, timeout=60.0, pause=0.2)
        finally:
            await workers.end()
        assert set(workers.harms) == {"kill", "stop"}
        found: list[tuple[Any, ...]] = connection.execute(FOUND).fetchall()
        assert found == [(str(lane), list(range(numbers)), 1, 1) for lane in sorted(map(str, range(LANES)))]


FOUND = """
    SELECT lane, array_agg(number ORDER BY id), min(answers), max(answers) FROM notes GROUP BY lane ORDER BY lane
"""
