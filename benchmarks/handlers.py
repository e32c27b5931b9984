"""Handlers that do nothing but take notes, loaded by a real worker as a user's own."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import time
from pathlib import Path
from typing import Any

from benchmarks.stats import percentile
from convoq.handlers.custom import JobContext

NOTES = "BENCHMARK_NOTES"  #: the file that notes are written to after the last job
BELL = "BENCHMARK_BELL"  #: the socket that hears when a job was started
LOOK_INTERVAL = 0.005  #: seconds between two looks at the loop


class Drain:
    """Counts jobs, remembers when the first and the last were started, and how many came out of order."""

    def __init__(self) -> None:
        self._count = 0
        self._first = self._last = self._cpu = 0.0
        self._disordered = 0
        self._newest: dict[str, int] = {}

    def take(self, payload: dict[str, Any]) -> None:
        self._last = time.perf_counter()
        if self._count == 0:
            self._first, self._cpu = self._last, _cpu_seconds()
        self._count += 1
        lane, number = payload["lane"], payload["number"]
        self._disordered += number <= self._newest.get(lane, 0)
        self._newest[lane] = number
        if self._count == payload["of"]:
            self._write()

    def _write(self) -> None:
        more = max(1, self._count - 1)  # than the first, which the clock starts with
        _write_notes(
            {
                "per_second": more / (self._last - self._first),
                "cpu_us": (_cpu_seconds() - self._cpu) / more * 1e6,
                "disordered": self._disordered,
            }
        )


class TakeNotes:
    """A handler for jobs whose payload says their lane, their number and how many there are."""

    def __init__(self) -> None:
        self._drain = Drain()

    async def __call__(self, job: JobContext) -> None:
        self._drain.take(job.payload)


async def ring_bell(_job: JobContext) -> None:
    """A handler that tells the time of its start to the process that waits for it."""
    started = time.monotonic_ns()
    # A socket a job, closed with it: one of the module's own would also be open in every process that imports it.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
        bell.sendto(str(started).encode(), os.environ[BELL])


async def wait(job: JobContext) -> None:
    """A handler that takes as long as its payload says, as one does that asks another server."""
    await asyncio.sleep(job.payload["seconds"])


async def watch_loop(job: JobContext) -> None:
    """A handler that notes how late the worker's loop wakes it, from `after` seconds on for `seconds`."""
    await asyncio.sleep(job.payload["after"])
    due = time.perf_counter()
    ends_at = due + job.payload["seconds"]
    late: list[float] = []
    while due < ends_at:
        due += LOOK_INTERVAL
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        late.append(time.perf_counter() - due)  # each look that was due counts, also those that a late one holds up
    _write_notes({"loop_lag_p99_ms": percentile(late, 0.99) * 1000, "loop_lag_max_ms": max(late) * 1000})


def _write_notes(notes: dict[str, float]) -> None:
    path = Path(os.environ[NOTES])
    path.with_suffix(".new").write_text(json.dumps(notes))
    path.with_suffix(".new").rename(path)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


take_notes = TakeNotes()
