"""serve and work flat out on one file: does the worker keep up, and how long does a write wait?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from benchmarks import child, messages
from benchmarks.child import ready, stopped
from benchmarks.figure import Bar, Column, Contestant, Figure, Metrics, Outcome, Setting
from benchmarks.producers import enough, flat_out
from benchmarks.rounds import interleave
from benchmarks.stats import percentile
from convoq.db import Database, Unit
from convoq.db.writer import Settle, always
from convoq.handlers.base import ClaimContext, Handlers
from convoq.jobs import ReceiveMessage
from convoq.queue.base import JobFilter, JobState
from convoq.queue.service import QueueService
from convoq.queue.sqlite.backend import SqliteQueue
from convoq.settings.options import QueueSettings
from convoq.worker import Worker

T = TypeVar("T")

CONVOQ: Final = "convoq"
PRODUCERS: Final = 8
COLUMNS: Final = (
    Column("enqueued_per_second", "enqueued/s"),
    Column("finished_per_second", "finished/s"),
    Column("enqueue_wait_p99_ms", "an enqueue's wait, p99 ms", 1),
    Column("enqueue_wait_max_ms", "longest, ms", 1),
    Column("work_wait_p99_ms", "a claim's or an ack's wait, p99 ms", 1),
    Column("work_wait_max_ms", "longest, ms", 1),
)
METHOD: Final = f"""
Two processes on one file: {PRODUCERS} producers that enqueue durably without a pause, and a worker (concurrency 8,
handlers that do nothing). What is finished when the producers stop is set against what they enqueued. A write's wait
runs from the call until its commit is known in the event loop.
"""


def measure(setting: Setting) -> Outcome:
    contestant = Contestant(
        CONVOQ, "enqueues FULL, claims and acks NORMAL, one gate", partial(_measure, setting.size.together_seconds)
    )
    series = interleave([contestant], setting)
    finished, enqueued = (series.values(CONVOQ, name) for name in ("finished_per_second", "enqueued_per_second"))
    waits = zip(*(series.values(CONVOQ, f"{who}_wait_max_ms") for who in ("enqueue", "work")), strict=True)
    bars = [
        Bar(
            text="serve and work flat out, finished against enqueued",
            limit=97.0, unit="%", at_least=True,
            values=[100.0 * done / put for done, put in zip(finished, enqueued, strict=True)],
        ),
        Bar(
            text="serve and work flat out, the longest wait of a write",
            limit=50.0, unit="ms",
            values=[max(pair) for pair in waits],
            quiet_disk=True,
        ),
    ]  # fmt: skip
    return Outcome(series, COLUMNS, bars, {CONVOQ: contestant.settings})


FIGURES: Final = (Figure("together", "Enqueuing and working flat out on one file", METHOD, measure),)


def _measure(seconds: float, directory: Path) -> Metrics:
    with child.beside("together:work", directory=directory) as worker:
        enqueued = child.run("together:enqueue", directory=directory, seconds=seconds)
        worked = worker.stop()
    waits = {"enqueue_wait": enqueued.pop("waits"), "work_wait": worked["waits"]}
    return {
        "enqueued_per_second": enqueued["enqueued"] / enqueued["elapsed"],
        "finished_per_second": enqueued["finished"] / enqueued["elapsed"],
        **{f"{who}_{name}": value for who, values in waits.items() for name, value in values.items()},
    }


async def enqueue(*, directory: str, seconds: float) -> dict[str, object]:
    """The producers' process; counts at its end what the worker has finished by then."""
    prepared = messages.jobs(enough(PRODUCERS, seconds) // 2, seed=5, people=10_000)
    async with await TimedDatabase.open(Path(directory) / "convoq.db") as database:
        backend = SqliteQueue(database)
        queue = QueueService(backend, QueueSettings())
        started = time.perf_counter()
        await flat_out(queue.enqueue, prepared, producers=PRODUCERS, seconds=seconds)
        elapsed = time.perf_counter() - started
        finished = await backend.count(JobFilter(states=(JobState.DONE,)))
        enqueued = await backend.count(JobFilter())
        waits = database.waits()
        await backend.close()
    return {"enqueued": enqueued, "finished": finished, "elapsed": elapsed, "waits": waits}


async def work(*, directory: str) -> dict[str, object]:
    """The worker's process."""
    stopping = asyncio.Event()
    async with await TimedDatabase.open(Path(directory) / "convoq.db") as database:
        backend = SqliteQueue(database)
        queue = QueueService(backend, QueueSettings())
        handlers = Handlers({ReceiveMessage.kind: _do_nothing}, together=frozenset({ReceiveMessage.kind}))
        worker = Worker(queue, handlers, name="bench", concurrency=8, deadline=60.0, drain_timeout=5.0)
        working = asyncio.create_task(worker.run(stopping))
        ready()
        await stopped()
        stopping.set()
        await working
        waits = database.waits()
        await backend.close()
    return {"waits": waits}


class TimedDatabase(Database):
    """Notes how long each write took, as its caller sees it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._took: list[float] = []

    def post(
        self, unit: Unit[T], settle: Settle[T], *, durable: bool = True, wanted: Callable[[], bool] = always
    ) -> None:
        started = time.perf_counter()

        def timed(result: T | Exception) -> None:
            self._took.append(time.perf_counter() - started)
            settle(result)

        super().post(unit, timed, durable=durable, wanted=wanted)

    def waits(self) -> dict[str, float]:
        return {"p99_ms": percentile(self._took, 0.99) * 1000, "max_ms": max(self._took) * 1000}


async def _do_nothing(_: ClaimContext) -> None:
    """Its claim is acknowledged as a whole."""
