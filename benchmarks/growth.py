"""What a file that years of use have left changes for those who write: enqueues, turns, and a start after a kill."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import child, turns
from benchmarks.figure import Bar, Column, Contestant, Figure, Metrics, Outcome, Setting, Size
from benchmarks.filling import create
from benchmarks.rounds import interleave, scratch
from benchmarks.site import Site
from convoq.channels.twilio.webhooks import INBOUND_PATH

MOST_ROUNDS: Final = 3
PRODUCERS: Final = 64
MOST_GROWTH: Final = 1.3
READY_AFTER: Final = 1.0
COLUMNS: Final = (
    Column("per_second", "enqueues/s"),
    Column("p50_ms", "a turn, p50 ms", 2),
    Column("p99_ms", "p99 ms", 2),
    Column("serve_seconds", "serve ready after a kill, s", 2),
    Column("work_seconds", "work ready after a kill, s", 2),
)
METHOD: Final = f"""
A file with few messages beside one with as many as the settings say (`--messages N`), in conversations of ten, half as
many finished jobs. On a copy of each: turns one by one, as in the figure of turns without a history; durable enqueues
by {PRODUCERS} producers; then both roles are killed (SIGKILL) while webhooks come in, and started again.
"""


def measure(setting: Setting) -> Outcome:
    sizes = (setting.size.few_messages, setting.size.stored_messages)
    few, many = names = [f"{messages:,} messages" for messages in sizes]
    with scratch(setting.directory) as directory:
        contestants = []
        for name, messages in zip(names, sizes, strict=True):
            setting.progress(f"fills a file with {name}")
            path = directory / f"{messages}.db"
            asyncio.run(create(path, messages))
            settings = f"{path.stat().st_size / 1e6:,.0f} MB"
            contestants.append(Contestant(name, settings, partial(_measure, setting.size, path)))
        rounds = min(setting.size.rounds, MOST_ROUNDS)
        series = interleave(contestants, setting._replace(size=replace(setting.size, rounds=rounds)))
    bars = [
        Bar(text=f"enqueues/s with {few}, against {many}", limit=MOST_GROWTH, unit="x",
            values=series.ratios("per_second", few, many)),
        Bar(text=f"a turn, p50, with {many}, against {few}", limit=MOST_GROWTH, unit="x",
            values=series.ratios("p50_ms", many, few)),
        *(Bar(text=f"{role} with {many}, ready after kill -9", limit=READY_AFTER, unit="s",
              values=series.values(many, f"{role}_seconds")) for role in ("serve", "work")),
    ]  # fmt: skip
    return Outcome(series, COLUMNS, bars, {contestant.name: contestant.settings for contestant in contestants})


FIGURES: Final = (Figure("growth", "A file that grows", METHOD, measure),)


def _measure(size: Size, file: Path, directory: Path) -> Metrics:
    # Read before the clock runs: what the disk takes for a page that is not in memory is not what grows here.
    shutil.copyfile(file, directory / "convoq.db")
    (directory / "convoq.db").chmod(0o600)
    turn = asyncio.run(turns.one_by_one(size, 0, directory))
    enqueued = child.run(
        "enqueue_convoq:enqueue", directory=directory, producers=PRODUCERS, seconds=size.enqueue_seconds
    )
    ready = asyncio.run(_ready_after_kill(size, directory))
    return {"per_second": enqueued["per_second"], "p50_ms": turn["p50_ms"], "p99_ms": turn["p99_ms"], **ready}


async def _ready_after_kill(size: Size, directory: Path) -> Metrics:
    site = Site(directory)
    async with site.role("serve") as serve, site.role("work") as work:
        await asyncio.to_thread(
            child.run, "load:post", port=site.port, url=site.public_url + INBOUND_PATH,
            connections=PRODUCERS, seconds=size.webhook_seconds,
        )  # fmt: skip
        for role in (serve, work):
            role.kill()
            await role.wait()
    async with site.role("serve") as serve, site.role("work") as work:
        return {"serve_seconds": serve.ready_after, "work_seconds": work.ready_after}
