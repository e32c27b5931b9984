"""Pick-up: from the wish to enqueue until an idle worker in another process starts the handler."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks import child
from benchmarks.figure import Bar, Column, Contestant, Figure, Metrics, Outcome, Setting
from benchmarks.handlers import BELL
from benchmarks.rounds import interleave
from benchmarks.site import Site
from benchmarks.stats import latencies, percentile
from convoq import connect

KIND: Final = "bench.ring"
CONVOQ: Final = "convoq work"
PAUSE: Final = (0.02, 0.06)  # seconds between two tries: the worker has gone idle again
COLUMNS: Final = (
    Column("p50_ms", "p50 ms", 2),
    Column("p99_ms", "p99 ms", 2),
    Column("enqueue_p50_ms", "of that the enqueue, p50 ms", 2),
)
METHOD: Final = """
One process enqueues through `convoq.connect()`, one job at a time and with pauses; `convoq work` in another one runs a
handler of the user's own, which tells the time of its start. The durable enqueue is part of what is measured.
"""


def measure(setting: Setting) -> Outcome:
    contestant = Contestant(
        CONVOQ, "concurrency 8, idle; the enqueue is fsynced", partial(_measure, setting.size.pickups)
    )
    series = interleave([contestant], setting)
    bars = [
        Bar(text="pick-up, p50", limit=1.7, unit="ms", values=series.values(CONVOQ, "p50_ms"), quiet_disk=True),
        Bar(text="pick-up, p99", limit=5.0, unit="ms", values=series.values(CONVOQ, "p99_ms"), quiet_disk=True),
    ]
    return Outcome(series, COLUMNS, bars, {CONVOQ: contestant.settings})


FIGURES: Final = (Figure("pickup", "Pick-up by an idle worker in another process", METHOD, measure),)


def _measure(tries: int, directory: Path) -> Metrics:
    return asyncio.run(pick_up(tries, directory, {}))


async def pick_up(tries: int, directory: Path, tables: Mapping[str, Mapping[str, Any]]) -> Metrics:
    """`tables`: further ones of convoq.toml."""
    site = Site(directory, {"handlers": {KIND: "benchmarks.handlers:ring_bell"}, **tables})
    bell = directory / "bell"
    async with site.role("work", **{BELL: str(bell)}):
        metrics: Metrics = child.run("pickup:enqueue", config=site.config, bell=bell, tries=tries)
    return metrics


async def enqueue(*, config: str, bell: str, tries: int) -> Metrics:
    """In a process of its own: enqueues, and hears when the handler started."""
    loop = asyncio.get_running_loop()
    chance = random.Random(3)
    picked_up: list[float] = []
    enqueued: list[float] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as heard:
        heard.bind(bell)
        async with connect(config) as queue:
            for number in range(tries + 1):
                await asyncio.sleep(chance.uniform(*PAUSE))
                started = time.monotonic_ns()
                await queue.enqueue(KIND, {"number": number}, ordering_key=f"lane-{number}", dedup_key=f"try-{number}")
                enqueued.append((time.monotonic_ns() - started) / 1e9)
                handled = int(await asyncio.wait_for(loop.sock_recv(heard, 64), 30.0))
                picked_up.append((handled - started) / 1e9)
    # Without the first: it warms both sides up.
    return latencies(picked_up[1:]) | {"enqueue_p50_ms": percentile(enqueued[1:], 0.5) * 1000}
