"""Producers that enqueue as fast as they are let, for a while."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence

from benchmarks.stats import latencies
from convoq.jobs import NewJob

WARM_UP = 200
FASTEST = 45_000  # enqueues a second that are prepared for; a faster one ends early, which changes no rate

Enqueue = Callable[[NewJob], Awaitable[object]]


async def flat_out(enqueue: Enqueue, prepared: Sequence[NewJob], *, producers: int, seconds: float) -> dict[str, float]:
    """Enqueues per second, and how long one took."""
    # Frozen: each garbage collection would walk through what was prepared again, and that is not what is measured.
    gc.collect()
    gc.freeze()
    waiting = iter(prepared)
    for _ in range(min(WARM_UP, len(prepared) // 2)):
        await enqueue(next(waiting))
    took: list[float] = []
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(producers):
            group.create_task(_produce(enqueue, waiting, started + seconds, took))
    return {"per_second": len(took) / (time.perf_counter() - started), **latencies(took)}


async def _produce(enqueue: Enqueue, waiting: Iterator[NewJob], until: float, took: list[float]) -> None:
    wanted = time.perf_counter()
    while wanted < until and (job := next(waiting, None)) is not None:
        await enqueue(job)
        done = time.perf_counter()
        took.append(done - wanted)
        wanted = done


def enough(producers: int, seconds: float) -> int:
    """How many jobs to prepare."""
    return WARM_UP + round(seconds * (FASTEST if producers > 1 else FASTEST / 4))
