"""What operators ask of a file that years of use have left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import child
from benchmarks.figure import Bar, Column, Contestant, Figure, Metrics, Outcome, Setting
from benchmarks.filling import COMMON, RARE, create
from benchmarks.rounds import interleave, scratch
from convoq.conversations.queries import Reading
from convoq.conversations.search import ConversationFilter
from convoq.conversations.states import Status
from convoq.db import Database
from convoq.monitoring.snapshot import take
from convoq.queue.base import JobFilter, JobState
from convoq.queue.sqlite.backend import SqliteQueue

METHOD: Final = """
One file with as many messages as the settings say (`--messages N`), half of them ours, in conversations of ten, and
half as many finished jobs; its texts are indexed as housekeeping does it. Each question is the first one that a new
process asks, as a command does: the time of its answer, without the start of the process and the opening of the file.
A page has 50 lines; *rare* is in one message of 200,000, *common* in most, *nowhere* in none, so that nothing ends the
search early.
"""
MOST_ROUNDS: Final = 3
MILLION: Final = 1_000_000
Ask = Callable[[Database, SqliteQueue], Awaitable[object]]


def _conversations(**where: object) -> Ask:
    return lambda database, _: Reading(database).find(ConversationFilter(**where))  # type: ignore[arg-type]


def _jobs(**where: object) -> Ask:
    return lambda _, queue: queue.list(JobFilter(**where))  # type: ignore[arg-type]


async def _since(database: Database, queue: SqliteQueue) -> object:
    newest = await database.read(lambda tx: tx.execute("SELECT enqueued_at FROM newest_job").fetchone()[0])
    return await queue.list(JobFilter(since=newest - 600_000))


QUESTIONS: Final[dict[str, Ask]] = {
    "`status`": take,
    "`conversations list`": _conversations(),
    "`conversations list --status idle`": _conversations(statuses=(Status.IDLE,)),
    "`conversations list --text`, rare": _conversations(text=RARE),
    "`conversations list --text`, common": _conversations(text=COMMON),
    "`conversations list --text`, nowhere": _conversations(text="nowhere to be found"),
    "`conversations list --text`, two characters, nowhere": _conversations(text="退款"),
    "`jobs list`": _jobs(),
    "`jobs list --state dead`": _jobs(states=(JobState.DEAD,)),
    "`jobs list --since`, a few": _since,
    "`jobs list --kind`, nowhere": _jobs(kinds=("nowhere",)),
    "`jobs list --lane`, nowhere": _jobs(ordering_key="nowhere"),
    "`jobs list --text`, nowhere": _jobs(text="nowhere to be found"),
    "jobs counted": lambda _, queue: queue.count(JobFilter()),
}


def measure(setting: Setting) -> Outcome:
    messages = setting.size.stored_messages
    with scratch(setting.directory) as directory:
        path = directory / "convoq.db"
        setting.progress(f"fills a file with {messages:,} messages")
        asyncio.run(create(path, messages))
        settings = f"{messages:,} messages, {messages // 2:,} jobs, {path.stat().st_size / 1e6:,.0f} MB"
        contestants = [Contestant(name, settings, partial(_answer, path, name)) for name in QUESTIONS]
        size_of_rounds = replace(setting.size, rounds=min(setting.size.rounds, MOST_ROUNDS))
        series = interleave(contestants, setting._replace(size=size_of_rounds))
    bars = [_bar(name, messages, series.values(name, "seconds")) for name in QUESTIONS]
    return Outcome(series, [Column("seconds", "seconds", 4)], bars, {"the file": settings})


def _bar(name: str, messages: int, values: Sequence[float]) -> Bar:
    """0.1 s at a million messages; beyond that what is listed may take 0.2 s and the rest 0.3 s."""
    beyond = 0.2 if name in ("`conversations list`", "`jobs list`") else 0.3
    limit = beyond if messages > MILLION else 0.1
    return Bar(text=f"{name}, {messages:,} messages", limit=limit, unit="s", values=values)


FIGURES: Final = (Figure("large", "A large file", METHOD, measure),)


def _answer(path: Path, name: str, _: Path) -> Metrics:
    return {"seconds": child.run("large_file:ask", path=path, name=name)}


async def ask(path: str, name: str) -> float:
    """In a process of its own: how long the first answer takes."""
    async with await Database.open(Path(path)) as database:
        queue = SqliteQueue(database)
        started = time.perf_counter()
        await QUESTIONS[name](database, queue)
        took = time.perf_counter() - started
        await queue.close()
    return took
