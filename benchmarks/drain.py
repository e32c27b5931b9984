"""Drain: how fast a worker empties a full queue of jobs that do nothing."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import child, peers
from benchmarks.backlog import KIND
from benchmarks.child import LONGEST_RUN, BenchmarkFailed, environment
from benchmarks.figure import Bar, Column, Contestant, Figure, Metrics, Outcome, Setting
from benchmarks.handlers import NOTES
from benchmarks.redis_server import durable_redis
from benchmarks.rounds import interleave
from benchmarks.site import Site

CONVOQ: Final = "convoq work"
TWO_A_LANE: Final = "convoq work, two jobs a lane"
TASKIQ: Final = "taskiq worker"
HUEY: Final = "huey consumer"
COLUMNS: Final = (Column("per_second", "jobs/s"), Column("cpu_us", "worker CPU µs a job"))
METHOD: Final = """
The queue is filled first, with one 500-byte message a conversation (two on average where it says so); then the peer's
own worker runs a handler that only notes the time, at concurrency 8. The clock runs from the first handler's start to
the last one's. convoq acknowledges every job, keeps each conversation's order (which the handler checks), marks it
finished in the database (which is counted afterwards) and writes its line in the log. taskiq acknowledges and keeps no
order; huey deletes a job before it runs it.
"""


def measure(setting: Setting) -> Outcome:
    contestants = [
        Contestant(
            name,
            "`convoq work --drain --concurrency 8`, a handler of the user's own, log level info",
            partial(_convoq, setting.size.drained, in_a_lane),
        )
        for name, in_a_lane in ((CONVOQ, 1), (TWO_A_LANE, 2))
    ]
    contestants += [
        Contestant(
            TASKIQ,
            "RedisStreamBroker, appendfsync always, Unix socket; `taskiq worker --workers 1 --max-async-tasks 8`",
            partial(of_taskiq, setting.size.drained_by_peers),
            peers.missing("taskiq_redis", "taskiq", program="redis-server"),
        ),
        Contestant(
            HUEY, "SqliteHuey(fsync=True, results=False), `huey_consumer -k thread -w 8 -n`",
            partial(_huey, setting.size.drained_by_peers), peers.missing("huey"),
        ),
    ]  # fmt: skip
    series = interleave(contestants, setting)
    # Redis streams are the faster peer: huey stands in where there is no Redis.
    peer = next((contestant for contestant in contestants[2:] if contestant.missing is None), contestants[2])
    bars = [
        Bar(
            text="drained jobs/s",
            limit=12_000.0, unit="/s", at_least=True,
            values=series.values(CONVOQ, "per_second"),
            quiet_disk=True,
        ),
        Bar(
            text=f"drained jobs/s, against {peer.name}",
            limit=3.0, unit="x", at_least=True,
            values=series.ratios("per_second", CONVOQ, peer.name),
            quiet_disk=True,
            missing=peer.missing,
        ),
    ]  # fmt: skip
    return Outcome(series, COLUMNS, bars, {contestant.name: contestant.settings for contestant in contestants})


FIGURES: Final = (Figure("drain", "Drain of no-op jobs, concurrency 8", METHOD, measure),)


def _convoq(jobs: int, in_a_lane: int, directory: Path) -> Metrics:
    handlers = {KIND: "benchmarks.handlers:take_notes"}
    site = Site(directory, {"handlers": handlers, "log": {"level": "info", "format": "json"}})
    child.run("backlog:fill_convoq", database=site.database, count=jobs, in_a_lane=in_a_lane)
    asyncio.run(drained(site))
    with closing(sqlite3.connect(site.database)) as database:
        done = database.execute("SELECT count(*) FROM jobs WHERE state = 'done'").fetchone()[0]
    return metrics_of(site, done, jobs)


async def drained(site: Site) -> None:
    """A worker of convoq's empties the queue and writes its notes."""
    async with site.role("work", "--drain", "--concurrency", "8", **{NOTES: str(_notes(site))}) as worker:
        await worker.ended(LONGEST_RUN)


def metrics_of(site: Site, done: int, jobs: int) -> Metrics:
    """What that worker has noted. Raises BenchmarkFailed unless all were done, and in order."""
    metrics: Metrics = json.loads(_notes(site).read_text())
    if done != jobs or metrics["disordered"]:
        raise BenchmarkFailed(f"{done} of {jobs} jobs are done, {metrics['disordered']:.0f} ran out of order")
    return metrics


def _notes(site: Site) -> Path:
    return site.directory / "notes"


def of_taskiq(jobs: int, directory: Path) -> Metrics:
    with durable_redis(directory) as url:
        variables = {"BENCHMARK_REDIS_URL": url}
        child.run("backlog:fill_taskiq", variables, count=jobs)
        command = [sys.executable, "-m", "taskiq", "worker", "benchmarks.taskiq_app:broker", "--workers", "1"]
        command += ["--max-async-tasks", "8", "--log-level", "WARNING"]
        return worked_off(command, directory, variables)


def _huey(jobs: int, directory: Path) -> Metrics:
    variables = {"BENCHMARK_HUEY_DATABASE": str(directory / "huey.db")}
    child.run("backlog:fill_huey", variables, count=jobs)
    consumer = [sys.executable, "-m", "huey.bin.huey_consumer", "benchmarks.huey_app.huey"]
    return worked_off([*consumer, "-k", "thread", "-w", "8", "-n", "-q"], directory, variables)


def worked_off(command: Sequence[str], directory: Path, variables: dict[str, str]) -> Metrics:
    """Runs a peer's worker until its task has written its notes."""
    notes, log = directory / "notes", directory / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(
            command, cwd=directory, env=environment(**variables, **{NOTES: str(notes)}), stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + LONGEST_RUN
        while not notes.exists():
            if worker.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkFailed(f"{command[2]} did not finish: {' '.join(log.read_text().split())[-600:]}")
            time.sleep(0.05)
    finally:
        worker.send_signal(signal.SIGTERM)
        try:
            worker.wait(10.0)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
    metrics: Metrics = json.loads(notes.read_text())
    return metrics
