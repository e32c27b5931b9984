"""What a claim costs when the queue is long, old, or full of jobs that are held."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks import child, messages
from benchmarks.figure import Bar, Column, Figure, Metrics, Outcome, Sample, Series, Setting
from benchmarks.rounds import fdatasync_ms, scratch
from convoq.db import Database
from convoq.jobs import INTAKE, ReceiveMessage
from convoq.queue.sqlite.backend import SqliteQueue

BATCH: Final = 8
HELD_LANES: Final = 8
LEASE: Final = 3600.0
FEW: Final = "few ready"
READY: Final = "many ready"
FINISHED: Final = "few ready, many finished"
HELD: Final = "few ready, held conversations in front"
COLUMNS: Final = (Column("claim_us", "claim, µs a conversation", 1), Column("ack_us", "ack, µs a conversation", 1))


def measure(setting: Setting) -> Outcome:
    size = setting.size
    counts = {
        FEW: {"ready": size.few_jobs},
        READY: {"ready": size.many_jobs},
        FINISHED: {"ready": size.few_jobs, "finished": size.many_jobs},
        HELD: {"ready": size.few_jobs, "held": size.held_jobs},
    }
    setting.progress(f"filling four queues, the longest with {size.many_jobs:,} jobs")
    with scratch(setting.directory) as directory:
        rounds = child.run(
            "claim_cost:claim", directory=directory, counts=counts, rounds=size.rounds, claims=size.claims
        )
    series = Series([{name: Sample(*sample) for name, sample in samples.items()} for samples in rounds])
    limits = {READY: 1.5, FINISHED: 1.5, HELD: 2.0}
    bars = [
        Bar(
            text=f"a claim with {_words(counts[name])}, against {_words(counts[FEW])}",
            limit=limit, unit="x", values=series.ratios("claim_us", name, FEW),
        )
        for name, limit in limits.items()
    ]  # fmt: skip
    return Outcome(series, COLUMNS, bars, {name: _words(count) for name, count in counts.items()})


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {state}" for state, count in counts.items())


METHOD: Final = f"""
Four queues in one process, measured in turns: {BATCH} conversations are claimed, then acknowledged, and as many new
jobs put in. Every job is of a conversation of its own, but the held ones, which are of {HELD_LANES} that are under a
claim all the time and were enqueued first. A claim's time is that of the whole call, with its commit.
"""

FIGURES: Final = (Figure("claim-cost", "What a claim costs as the queue grows", METHOD, measure),)


async def claim(*, directory: str, counts: dict[str, dict[str, int]], rounds: int, claims: int) -> list[Any]:
    """In a process of its own: rounds of samples."""
    async with AsyncExitStack() as stack:
        queues = {
            name: await _open(Path(directory) / f"{number}.db", count, (rounds * claims + 1) * BATCH, stack)
            for number, (name, count) in enumerate(counts.items())
        }
        for queue in queues.values():
            await queue.cycle()
        return [
            {name: await queue.measure(claims, Path(directory)) for name, queue in queues.items()}
            for _ in range(rounds)
        ]


class _Queue:
    """One queue under measurement; it keeps its length."""

    def __init__(self, backend: SqliteQueue, more: int) -> None:
        self._backend = backend
        self._more = iter(messages.jobs(more, seed=6, people=9_999_999))

    async def measure(self, claims: int, directory: Path) -> tuple[Metrics, float]:
        probed = fdatasync_ms(directory)
        took = [await self.cycle() for _ in range(claims)]
        claimed, acked = (median(times) / BATCH * 1e6 for times in zip(*took, strict=True))
        return {"claim_us": claimed, "ack_us": acked}, probed

    async def cycle(self) -> tuple[float, float]:
        """Seconds of one claim of BATCH lanes, and of their acks together."""
        started = time.perf_counter()
        claims = await self._backend.claim(0, lease=LEASE, worker="bench", reserve=BATCH)
        claimed = time.perf_counter()
        await asyncio.gather(*(self._backend.ack(one) for one in claims))
        acked = time.perf_counter()
        await self._backend.enqueue([next(self._more) for _ in claims], max_attempts=12)
        return claimed - started, acked - claimed


async def _open(path: Path, counts: Mapping[str, int], more: int, stack: AsyncExitStack) -> _Queue:
    database = await stack.enter_async_context(await Database.open(path))
    backend = SqliteQueue(database)
    stack.push_async_callback(backend.close)
    now = database.clock.now()
    # Straight into the tables: through the queue, a million jobs would take minutes.
    await database.write(lambda connection: _fill(connection, counts, now), durable=False)
    await database.tidy()
    return _Queue(backend, more)


def _fill(connection: sqlite3.Connection, counts: Mapping[str, int], now: int) -> None:
    payload = messages.jobs(1, seed=7, people=1)[0].payload
    common = {"kind": ReceiveMessage.kind, "payload": payload, "priority": INTAKE, "now": now}
    connection.execute(
        HELD_LANE_ROWS, {"count": min(HELD_LANES, counts.get("held", 0)), "due": now + int(LEASE * 1000)}
    )
    connection.execute(HELD_JOBS, {**common, "count": counts.get("held", 0), "lanes": HELD_LANES})
    connection.execute(FINISHED_JOBS, {**common, "count": counts.get("finished", 0)})
    connection.execute(READY_LANES, {"count": counts["ready"], "priority": INTAKE, "now": now})
    connection.execute(READY_JOBS, {**common, "count": counts["ready"]})


NUMBERS: Final = (
    "WITH RECURSIVE numbers (n) AS (SELECT 1 WHERE :count > 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)"
)
INSERT: Final = (
    "INSERT INTO jobs (lane_id, lane, kind, payload, priority, max_attempts, enqueued_at, state, finished_at)"
)
HELD_LANE: Final = "(SELECT id FROM lanes WHERE lane = printf('held|%d', n % :lanes))"
READY_LANE: Final = "(SELECT id FROM lanes WHERE lane = printf('ready|%08d', n))"
HELD_JOBS: Final = f"""
    {INSERT} {NUMBERS}
    SELECT {HELD_LANE}, printf('held|%d', n % :lanes), :kind, :payload, :priority, 12, :now - 9000, 'ready', NULL
    FROM numbers
"""
HELD_LANE_ROWS: Final = f"""
    INSERT INTO lanes (lane, priority, due_at, receipt, worker) {NUMBERS}
    SELECT printf('held|%d', n - 1), 0, :due, printf('receipt-%d', n), 'somebody' FROM numbers
"""
FINISHED_JOBS: Final = f"""
    {INSERT} {NUMBERS}
    SELECT n, printf('done|%d', n), :kind, :payload, :priority, 12, :now - 8000, 'done', :now - 7000 FROM numbers
"""
READY_JOBS: Final = f"""
    {INSERT} {NUMBERS}
    SELECT {READY_LANE}, printf('ready|%08d', n), :kind, :payload, :priority, 12, :now - 5000, 'ready', NULL
    FROM numbers
"""
READY_LANES: Final = f"""
    INSERT INTO lanes (lane, priority, due_at) {NUMBERS}
    SELECT printf('ready|%08d', n), :priority, :now - 5000 FROM numbers
"""
