"""Durable enqueues: many producers in one process, and a single one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks import child, peers
from benchmarks.figure import Bar, Column, Contestant, Figure, Metrics, Outcome, Setting
from benchmarks.rounds import interleave

CONVOQ: Final = "convoq"
BARE: Final = "bare group commit"
HUEY: Final = "huey"
COLUMNS: Final = (Column("per_second", "enqueues/s"), Column("p50_ms", "p50 ms", 2), Column("p99_ms", "p99 ms", 2))
METHOD: Final = """
Every enqueue returns after its fsync. The latency counts from the wish to enqueue, so a library that blocks the event
loop pays for everybody who waits. 500-byte webhook forms, 10,000 conversations, each with a MessageSid of its own;
convoq keeps lanes and checks for duplicates, huey and the bare table know no lanes, huey knows no duplicates either.
"""


def many(setting: Setting) -> Outcome:
    series = interleave([_convoq(64, setting), _huey(64, setting), _bare(64, setting)], setting)
    bars = [
        Bar(
            text="64 producers, durable enqueues/s, against huey",
            limit=5.0, unit="x", at_least=True,
            values=series.ratios("per_second", CONVOQ, HUEY),
            quiet_disk=True,
            missing=_huey_missing(),
        ),
        Bar(
            text="64 producers, durable enqueues/s, against a bare group commit",
            limit=60.0, unit="%", at_least=True,
            values=series.ratios("per_second", CONVOQ, BARE, times=100.0),
        ),
    ]  # fmt: skip
    return Outcome(series, COLUMNS, bars, _settings(64, setting))


def one(setting: Setting) -> Outcome:
    series = interleave([_convoq(1, setting), _huey(1, setting)], setting)
    bar = Bar(
        text="one producer, p50, over huey's",
        limit=0.25, unit="ms",
        values=series.differences("p50_ms", CONVOQ, HUEY),
        quiet_disk=True,
        missing=_huey_missing(),
    )  # fmt: skip
    return Outcome(series, COLUMNS, [bar], {who.name: who.settings for who in (_convoq(1, setting), _huey(1, setting))})


FIGURES: Final = (
    Figure("enqueue", "Durable enqueues, 64 producers in one process", METHOD, many),
    Figure("enqueue-one", "Durable enqueues, one producer", METHOD, one),
)


def _settings(producers: int, setting: Setting) -> dict[str, str]:
    contestants = (_convoq(producers, setting), _huey(producers, setting), _bare(producers, setting))
    return {contestant.name: contestant.settings for contestant in contestants}


def _convoq(producers: int, setting: Setting) -> Contestant:
    return _contestant(CONVOQ, "QueueService on SQLite, WAL, synchronous=FULL", "enqueue_convoq", producers, setting)


def _huey(producers: int, setting: Setting) -> Contestant:
    settings = "SqliteHuey(fsync=True, results=False): WAL, synchronous=FULL, called in the loop"
    return _contestant(HUEY, settings, "enqueue_huey", producers, setting, _huey_missing())


def _bare(producers: int, setting: Setting) -> Contestant:
    settings = "one table, UNIQUE MessageSid, one partial index, a writer thread, WAL, synchronous=FULL"
    return _contestant(BARE, settings, "enqueue_bare", producers, setting)


def _contestant(
    name: str, settings: str, module: str, producers: int, setting: Setting, missing: str | None = None
) -> Contestant:
    arguments: dict[str, Any] = {"producers": producers, "seconds": setting.size.enqueue_seconds}
    return Contestant(name, settings, partial(_run, module, arguments), missing)


def _run(module: str, arguments: dict[str, Any], directory: Path) -> Metrics:
    metrics: Metrics = child.run(f"{module}:enqueue", directory=directory, **arguments)
    return metrics


def _huey_missing() -> str | None:
    return peers.missing("huey")
