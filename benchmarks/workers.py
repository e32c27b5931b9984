"""What a second and a fourth worker process add on one file."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.figure import Bar, Column, Contestant, Figure, Metrics, Outcome, Setting
from benchmarks.rounds import interleave
from benchmarks.site import Site
from convoq import connect

KIND: Final = "bench.wait"
SECONDS: Final = 0.2
SLOTS: Final = 8
PROCESSES: Final = (1, 2, 4)
METHOD: Final = f"""
So many `convoq work --concurrency {SLOTS}` on one file, and jobs that take {SECONDS:g} s each, a lane of its own for
each job. The clock runs from the first claim to the last end, as the database has them.
"""


def measure(setting: Setting) -> Outcome:
    contestants = [
        Contestant(
            _name(number), f"{number * SLOTS} slots, {SECONDS:g} s a job", partial(_measure, number, setting.size.waves)
        )
        for number in PROCESSES
    ]
    series = interleave(contestants, setting)
    bars = [
        Bar(
            text=f"jobs/s of {number} workers, of {number} times what one does",
            limit=95.0, unit="%", at_least=True,
            values=series.ratios("per_second", _name(number), _name(1), times=100.0 / number),
        )
        for number in PROCESSES[1:]
    ]  # fmt: skip
    columns = [Column("per_second", "jobs/s", 1)]
    return Outcome(series, columns, bars, {contestant.name: contestant.settings for contestant in contestants})


FIGURES: Final = (Figure("workers", "More workers on one file", METHOD, measure),)


def _name(number: int) -> str:
    return f"{number} process" if number == 1 else f"{number} processes"


def _measure(number: int, waves: int, directory: Path) -> Metrics:
    return asyncio.run(_work_off(number, waves, directory))


async def _work_off(number: int, waves: int, directory: Path) -> Metrics:
    site = Site(directory, {"handlers": {KIND: "benchmarks.handlers:wait"}})
    jobs = number * SLOTS * waves
    async with AsyncExitStack() as stack:
        for _ in range(number):
            await stack.enter_async_context(site.role("work", "--concurrency", str(SLOTS)))
        async with connect(str(site.config)) as queue:
            await asyncio.gather(*(queue.enqueue(KIND, {"seconds": SECONDS}) for _ in range(jobs)))
        with closing(sqlite3.connect(site.database)) as database:
            while _done(database) < jobs:  # noqa: ASYNC110 # other processes end them
                await asyncio.sleep(0.05)
            [span] = database.execute("SELECT max(finished_at) - min(claimed_at) FROM jobs").fetchone()
    return {"per_second": jobs / span * 1000}


def _done(database: sqlite3.Connection) -> int:
    [done] = database.execute("SELECT count(*) FROM jobs WHERE state = 'done'").fetchone()
    return int(done)
