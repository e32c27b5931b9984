"""Durable enqueues: many producers in one process, and a single one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks import child, peers
from benchmarks.figure import Bar, Column, Contestant, Figure, Metrics, Outcome, Setting
from benchmarks.rounds import interleave

CONVOQ: Final = "convoq"
TABLE: Final = "bare queue table"
JOURNAL: Final = "bare journal"
HUEY: Final = "huey"
COLUMNS: Final = (Column("per_second", "enqueues/s"), Column("p50_ms", "p50 ms", 2), Column("p99_ms", "p99 ms", 2))
METHOD: Final = """
Every enqueue returns after its fsync. The latency counts from the wish to enqueue, so a library that blocks the event
loop pays for everybody who waits. 500-byte webhook forms, 10,000 conversations, each with a MessageSid of its own;
convoq keeps lanes and checks for duplicates, huey and the bare tables know no lanes, huey and the journal know no
duplicates either. The journal is the limit of a group commit: rows of one column, without an index, in 4 KiB pages.
"""


def many(setting: Setting) -> Outcome:
    contestants = [_convoq(64, setting), _huey(64, setting), *_bare(64, setting)]
    series = interleave(contestants, setting)
    bars = [
        Bar(
            text="64 producers, durable enqueues/s, against huey",
            limit=6.0, unit="x", at_least=True,
            values=series.ratios("per_second", CONVOQ, HUEY),
            quiet_disk=True,
            missing=_huey_missing(),
        ),
        Bar(
            text="64 producers, durable enqueues/s, against a bare group commit",
            limit=62.0, unit="%", at_least=True,
            values=series.ratios("per_second", CONVOQ, JOURNAL, times=100.0),
        ),
    ]  # fmt: skip
    return Outcome(series, COLUMNS, bars, {contestant.name: contestant.settings for contestant in contestants})


def one(setting: Setting) -> Outcome:
    series = interleave([_convoq(1, setting), _huey(1, setting)], setting)
    bar = Bar(
        text="one producer, p50, over huey's",
        limit=0.12, unit="ms",
        values=series.differences("p50_ms", CONVOQ, HUEY),
        quiet_disk=True,
        missing=_huey_missing(),
    )  # fmt: skip
    return Outcome(series, COLUMNS, [bar], {who.name: who.settings for who in (_convoq(1, setting), _huey(1, setting))})


FIGURES: Final = (
    Figure("enqueue", "Durable enqueues, 64 producers in one process", METHOD, many),
    Figure("enqueue-one", "Durable enqueues, one producer", METHOD, one),
)


def _convoq(producers: int, setting: Setting) -> Contestant:
    return _contestant(CONVOQ, "QueueService on SQLite, WAL, synchronous=FULL", "enqueue_convoq", producers, setting)


def _huey(producers: int, setting: Setting) -> Contestant:
    settings = "SqliteHuey(fsync=True, results=False): WAL, synchronous=FULL, called in the loop"
    return _contestant(HUEY, settings, "enqueue_huey", producers, setting, _huey_missing())


def _bare(producers: int, setting: Setting) -> list[Contestant]:
    both = "a writer thread, a commit for all who wait, room in the log, WAL, synchronous=FULL"
    table = f"UNIQUE MessageSid, one partial index, 2 KiB pages; {both}"
    journal = f"(id INTEGER PRIMARY KEY, payload TEXT), 4 KiB pages; {both}"
    return [
        _contestant(TABLE, table, "enqueue_bare", producers, setting, table="queue"),
        _contestant(JOURNAL, journal, "enqueue_bare", producers, setting, table="journal"),
    ]


def _contestant(
    name: str, settings: str, module: str, producers: int, setting: Setting, missing: str | None = None, **also: str
) -> Contestant:
    arguments: dict[str, Any] = {"producers": producers, "seconds": setting.size.enqueue_seconds, **also}
    return Contestant(name, settings, partial(_run, module, arguments), missing)


def _run(module: str, arguments: dict[str, Any], directory: Path) -> Metrics:
    metrics: Metrics = child.run(f"{module}:enqueue", directory=directory, **arguments)
    return metrics


def _huey_missing() -> str | None:
    return peers.missing("huey")
