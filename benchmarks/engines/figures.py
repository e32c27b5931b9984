"""Enqueue, drain, pick-up and a turn on each engine."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks import child, drain, peers, pickup, turns
from benchmarks.backlog import KIND
from benchmarks.engines.servers import (
    ENGINES,
    POSTGRES_URL,
    SETTINGS,
    Tables,
    durable_postgres,
    missing,
    postgres_missing,
    tables_of,
)
from benchmarks.figure import Bar, Column, Contestant, Figure, Metrics, Outcome, Setting, Size
from benchmarks.redis_server import durable_redis
from benchmarks.rounds import interleave
from benchmarks.site import Site

PRODUCERS: Final = 64
PROCRASTINATE: Final = "procrastinate"
SAQ: Final = "SAQ"
TASKIQ: Final = "taskiq worker"
#: Over the embedded default's, ms.
TURN_OVER: Final = {"postgres": 10.0, "redis": 8.0}
PICKED_UP: Final = {"postgres": (5.0, 15.0), "redis": (4.0, 12.0)}

ENQUEUE: Final = f"""
As the first figure, {PRODUCERS} producers in one process, each waiting for its own enqueue to be durable: on PostgreSQL
with fsync, on Redis with appendfsync always. procrastinate has 16 connections and gives each job its lane as a lock;
SAQ tells duplicates by key, and keeps no order.
"""
DRAIN: Final = """
As the drain above: the queue is filled first, one message a conversation; then a worker of eight slots runs a handler
that notes the time. Both that use PostgreSQL keep each conversation's order and what they finished; taskiq keeps
neither.
"""
PICK_UP: Final = """
As the pick-up above: one process enqueues, an idle `convoq work` in another one starts a handler.
"""
TURN: Final = """
As the turn above, of people who write for the first time: from the webhook's start to the request to Twilio.
"""


def enqueue(setting: Setting) -> Outcome:
    seconds = setting.size.enqueue_seconds
    contestants = [_of_engine(setting.size, engine, partial(_enqueue, seconds)) for engine in ENGINES]
    contestants += [
        Contestant(
            PROCRASTINATE, "PsycopgConnector, 16 connections, lock = the lane",
            partial(_enqueue_procrastinate, seconds), postgres_missing("procrastinate"),
        ),
        Contestant(
            SAQ, "Redis, appendfsync always, Unix socket; key = the MessageSid", partial(_enqueue_saq, seconds),
            peers.missing("saq", program="redis-server"),
        ),
    ]  # fmt: skip
    series = interleave(contestants, setting)
    bars = [
        _ratio(series.ratios("per_second", engine, peer), f"{engine}: durable enqueues/s, against {peer}", limit, found)
        for engine, peer, limit, found in (
            ("postgres", PROCRASTINATE, 3.0, contestants[4]), ("redis", SAQ, 1.3, contestants[5]),
        )
    ]  # fmt: skip
    columns = [Column("per_second", "enqueues/s"), Column("p50_ms", "p50 ms", 2), Column("p99_ms", "p99 ms", 2)]
    return Outcome(series, columns, bars, _settings(contestants))


def drained(setting: Setting) -> Outcome:
    size = setting.size
    contestants = [_of_engine(setting.size, engine, partial(_drain, size.drained_by_peers)) for engine in ENGINES]
    contestants += [
        Contestant(
            PROCRASTINATE, "`procrastinate worker -c 8`, lock = the lane",
            partial(_drain_procrastinate, size.drained_by_peers), postgres_missing("procrastinate"),
        ),
        Contestant(
            TASKIQ, "RedisStreamBroker, appendfsync always, Unix socket; `--workers 1 --max-async-tasks 8`",
            partial(drain.of_taskiq, size.drained_by_peers),
            peers.missing("taskiq_redis", "taskiq", program="redis-server"),
        ),
    ]  # fmt: skip
    series = interleave(contestants, setting)
    bars = [
        _ratio(series.ratios("per_second", engine, peer), f"{engine}: drained jobs/s, against {peer}", 2.0, found)
        for engine, peer, found in (
            ("postgres", PROCRASTINATE, contestants[4]), ("redis", TASKIQ, contestants[5]),
        )
    ]  # fmt: skip
    return Outcome(series, drain.COLUMNS, bars, _settings(contestants))


def picked_up(setting: Setting) -> Outcome:
    contestants = [_of_engine(setting.size, engine, partial(_pick_up, setting.size.pickups)) for engine in ENGINES]
    series = interleave(contestants, setting)
    bars = [
        Bar(
            text=f"{engine}: pick-up, {name}", limit=limit, unit="ms", values=series.values(engine, f"{name}_ms"),
            missing=missing(engine, setting.size),
        )
        for engine, limits in PICKED_UP.items()
        for name, limit in zip(("p50", "p99"), limits, strict=True)
    ]  # fmt: skip
    return Outcome(series, pickup.COLUMNS, bars, _settings(contestants))


def turn(setting: Setting) -> Outcome:
    contestants = [_of_engine(setting.size, engine, partial(_turn, setting.size)) for engine in ENGINES]
    series = interleave(contestants, setting)
    bars = [
        Bar(
            text=f"{engine}: a turn, p50, over sqlite's", limit=limit, unit="ms",
            values=series.differences("p50_ms", engine, "sqlite"), missing=missing(engine, setting.size),
        )
        for engine, limit in TURN_OVER.items()
    ]  # fmt: skip
    columns = [Column("p50_ms", "p50 ms", 2), Column("p99_ms", "p99 ms", 2), turns.CPU]
    return Outcome(series, columns, bars, _settings(contestants))


FIGURES: Final = (
    Figure("engines-enqueue", "On each engine: durable enqueues, 64 producers in one process", ENQUEUE, enqueue),
    Figure("engines-drain", "On each engine: drain of no-op jobs, concurrency 8", DRAIN, drained),
    Figure("engines-pickup", "On each engine: pick-up by an idle worker in another process", PICK_UP, picked_up),
    Figure("engines-turn", "On each engine: a turn, from the webhook to the request to Twilio", TURN, turn),
)


def _of_engine(size: Size, engine: str, measure: Callable[[Tables, Path], Metrics]) -> Contestant:
    def run(directory: Path) -> Metrics:
        with tables_of(engine, directory) as tables:
            return measure(tables, directory)

    return Contestant(engine, SETTINGS[engine], run, missing(engine, size))


def _ratio(values: Sequence[float], text: str, limit: float, peer: Contestant) -> Bar:
    missing = peer.missing or (None if values else "the engine is not measured")
    return Bar(text=text, limit=limit, unit="x", at_least=True, values=values, quiet_disk=True, missing=missing)


def _settings(contestants: Sequence[Contestant]) -> dict[str, str]:
    return {one.name: one.settings for one in contestants}


def _enqueue(seconds: float, tables: Tables, directory: Path) -> Metrics:
    config = Site(directory, tables).config
    return _run("enqueue_convoq", config=config, producers=PRODUCERS, seconds=seconds)


def _enqueue_procrastinate(seconds: float, directory: Path) -> Metrics:
    with durable_postgres(directory) as url:
        return _run("enqueue_procrastinate", url=url, producers=PRODUCERS, seconds=seconds)


def _enqueue_saq(seconds: float, directory: Path) -> Metrics:
    with durable_redis(directory) as url:
        return _run("enqueue_saq", url=url, producers=PRODUCERS, seconds=seconds)


def _drain(jobs: int, tables: Tables, directory: Path) -> Metrics:
    handlers = {KIND: "benchmarks.handlers:take_notes"}
    site = Site(directory, {"handlers": handlers, "log": {"level": "info", "format": "json"}, **tables})
    child.run("engines.queues:fill_convoq", config=site.config, count=jobs)
    asyncio.run(drain.drained(site))
    return drain.metrics_of(site, child.run("engines.queues:count_done", config=site.config), jobs)


def _drain_procrastinate(jobs: int, directory: Path) -> Metrics:
    with durable_postgres(directory) as url:
        variables = {POSTGRES_URL: url}
        child.run("engines.queues:fill_procrastinate", variables, count=jobs)
        command = [sys.executable, "-m", "procrastinate", "-a", "benchmarks.engines.procrastinate_app.app"]
        return drain.worked_off([*command, "worker", "-c", "8"], directory, variables)


def _pick_up(tries: int, tables: Tables, directory: Path) -> Metrics:
    return asyncio.run(pickup.pick_up(tries, directory, tables))


def _turn(size: Size, tables: Tables, directory: Path) -> Metrics:
    return asyncio.run(turns.one_by_one(size, 0, directory, tables))


def _run(function: str, **arguments: Any) -> Metrics:
    metrics: Metrics = child.run(f"engines.queues:{function}", **arguments)
    return metrics
