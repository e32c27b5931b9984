"""`convoq status`: everything at a glance, and an exit code for monitoring."""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, Final

from convoq.cli.terminal.output import colored, print_json
from convoq.cli.terminal.table import lines, terminal_width
from convoq.text import age, counted, harmless, iso_time, size

if TYPE_CHECKING:
    from convoq.conversations.queries import Overview
    from convoq.db import Database
    from convoq.monitoring.processes import ProcessRecord
    from convoq.queue.base import JobAdmin, Stats
    from convoq.settings import Options

ROLES: Final = ("serve", "schedule", "work")
SILENT_AFTER: Final = 30.0  # seconds; processes say that they are there every ten
DAY_MS: Final = 86_400_000
GONE: Final = "gone: it was killed or crashed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that is shown, read at one moment."""

    now: int
    path: Path
    database_bytes: int
    log_bytes: int
    accepts: bool
    stats: Stats
    overview: Overview
    processes: Sequence[ProcessRecord]

    @property
    def dead(self) -> int:
        return sum(kind.dead for kind in self.stats.kinds.values())

    @property
    def oldest_wait(self) -> float:
        """Seconds that the oldest job that is due has waited."""
        return max((kind.oldest_wait for kind in self.stats.kinds.values()), default=0.0)

    @property
    def longest_waiting(self) -> float:
        """Seconds that somebody has waited for an answer, also while their job is put off."""
        since = self.overview.waiting_since
        return 0.0 if since is None else max(0, self.now - since) / 1000

    def silence(self, process: ProcessRecord) -> float:
        return max(0, self.now - process.seen_at) / 1000

    def of(self, role: str) -> list[ProcessRecord]:
        return [process for process in self.processes if process.role == role]


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "status",
        help="the queue, the conversations and the processes at a glance",
        description="Shows what waits, what failed, and which processes were seen. With --exit-code it ends with 1\n"
        "when something is wrong, for monitoring: a role that is missing, gone or silent for 30 s, a job or a\n"
        "person that waited too long, dead letters, a full disk.",
        epilog="examples:\n  convoq status --watch\n  convoq status --exit-code --max-wait 120 --max-dead 5",
    )
    parser.add_argument(
        "--watch", nargs="?", type=_interval, const=2.0, metavar="SECONDS", help="show it again and again (default: 2)"
    )
    parser.add_argument("--json", action="store_true", help="for programs; with --watch one object a line")
    parser.add_argument("--exit-code", action="store_true", help="end with 1 when something is wrong")
    parser.add_argument(
        "--max-wait", type=_seconds, default=60.0, metavar="SECONDS", help="how long a job may wait (default: 60)"
    )
    parser.add_argument("--max-dead", type=_count, default=0, metavar="N", help="how many may be dead (default: 0)")
    parser.add_argument(
        "--role",
        action="append",
        choices=ROLES,
        help="a role that must have been seen; may be given several times (default: all three)",
    )
    parser.set_defaults(run=run)


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 3600")
    return seconds


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 on")
    return seconds


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def run(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_jobs, run_async

    async def main(options: Options) -> int:
        async with open_jobs(options) as (database, jobs):
            while True:
                snapshot = await take(database, jobs)
                problems = list(find_problems(snapshot, args))
                show(snapshot, problems, as_json=args.json, redraw=args.watch is not None)
                if args.watch is None:
                    return 1 if problems and args.exit_code else 0
                await asyncio.sleep(args.watch)
                await database.check()

    return run_async(main(load_settings(args.config).options))


async def take(database: Database, jobs: JobAdmin) -> Snapshot:
    from convoq.conversations.queries import Reading
    from convoq.monitoring.processes import Processes

    now = database.clock.now()
    return Snapshot(
        now=now,
        path=database.path,
        database_bytes=_bytes(database.path),
        log_bytes=_bytes(database.path.with_name(database.path.name + "-wal")),
        accepts=database.accepts(),
        stats=await jobs.stats(),
        overview=await Reading(database).overview(since=now - DAY_MS),
        processes=await Processes(database).seen(),
    )


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def find_problems(snapshot: Snapshot, args: argparse.Namespace) -> Iterator[str]:
    """What should wake somebody up, a line each."""
    for role in args.role or ROLES:
        there = snapshot.of(role)
        silences = [snapshot.silence(process) for process in there if not process.gone]
        if not there:
            yield f"{role}: no process has been seen: start convoq {role}"
        elif not silences:
            yield f"{role}: {GONE}: look at its log, and start it again"
        elif min(silences) > SILENT_AFTER:
            yield f"{role}: silent for {age(min(silences))}: look at its log, or start it again"
    if snapshot.oldest_wait > args.max_wait:
        yield f"a job has waited for {age(snapshot.oldest_wait)} (more than {age(args.max_wait)})"
    elif snapshot.longest_waiting > args.max_wait:
        waited = age(snapshot.longest_waiting)
        yield f"somebody has waited for an answer for {waited}: convoq conversations list --waiting"
    if snapshot.dead > args.max_dead:
        yield f"{counted(snapshot.dead, 'dead letter')}: convoq jobs list --state dead"
    if not snapshot.accepts:
        yield "the disk is nearly full: webhooks are answered 503 until there is room"


def show(snapshot: Snapshot, problems: Sequence[str], *, as_json: bool, redraw: bool) -> None:
    if as_json:
        print_json(document(snapshot, problems))
        return
    text = "\n".join(screen(snapshot, problems)) + "\n"
    if redraw and sys.stdout.isatty():
        # Written over what is there and in one piece: nothing flickers.
        text = "\x1b[H" + text.replace("\n", "\x1b[K\n") + "\x1b[J"
    print(text, end="\n" if redraw and not sys.stdout.isatty() else "", flush=True)


def screen(snapshot: Snapshot, problems: Sequence[str]) -> Iterator[str]:
    """The lines for people."""
    yield colored("bold", "Queue")
    yield from _table(("KIND", "READY", "SCHEDULED", "RUNNING", "DEAD", "OLDEST"), _kinds(snapshot))
    yield ""
    yield from _conversations(snapshot)
    yield ""
    yield colored("bold", "Processes")
    yield from _table(("ROLE", "HOST", "PID", "VERSION", "UP", "SEEN", "STATUS"), _processes(snapshot))
    yield ""
    yield colored("bold", "Database")
    yield f"  {harmless(str(snapshot.path))}: {size(snapshot.database_bytes)}, log {size(snapshot.log_bytes)}"
    yield ""
    for problem in problems:
        yield f"{colored('red', 'problem')}  {harmless(problem)}"
    if not problems:
        yield colored("green", "all well")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    width = terminal_width()
    for line in lines(header, rows, right=_NUMBERS, width=None if width is None else width - 2):
        yield f"  {line}"


def _conversations(snapshot: Snapshot) -> Iterator[str]:
    overview = snapshot.overview
    yield colored("bold", "Conversations")
    yield f"  {_tally(overview.statuses, ('active', 'idle', 'closed'))}"
    if overview.owners.get("human") or overview.owners.get("nobody"):
        yield f"  open ones answered by: {_tally(overview.owners, ('ai', 'human', 'nobody'))}"
    yield f"  waiting for an answer: {_waiting(snapshot)}"
    yield f"  replies on their way: {_tally(overview.pending, ('ready', 'sending', 'ambiguous'))}"
    yield f"  in the last 24 hours: {overview.failed} not sent, {overview.undelivered} not delivered"
    if times := overview.reply_times:
        yield f"  reply time: median {age(median(times))}, 95 % within {age(_p95(times))}"


_NUMBERS = ("READY", "SCHEDULED", "RUNNING", "DEAD", "OLDEST", "PID", "UP", "SEEN")


def _kinds(snapshot: Snapshot) -> list[tuple[str, ...]]:
    kinds = snapshot.stats.kinds
    rows = [
        (
            name,
            *(str(number) for number in (kind.ready, kind.scheduled, kind.running, kind.dead)),
            age(kind.oldest_wait) if kind.ready else "",
        )
        for name, kind in kinds.items()
    ]
    return rows or [("(nothing)", "0", "0", "0", "0", "")]


def _processes(snapshot: Snapshot) -> list[tuple[str, ...]]:
    return [
        (
            process.role,
            process.host,
            str(process.pid),
            process.version,
            "" if process.gone else age((snapshot.now - process.started_at) / 1000),
            age(snapshot.silence(process)) + " ago",
            GONE if process.gone else process.status,
        )
        for process in snapshot.processes
    ] or [("(none)", "", "", "", "", "", "")]


def _tally(counts: dict[str, int], names: Sequence[str]) -> str:
    return ", ".join(f"{counts.get(name, 0)} {name}" for name in names)


def _waiting(snapshot: Snapshot) -> str:
    overview = snapshot.overview
    if not overview.waiting or overview.waiting_since is None:
        return "nobody"
    return (
        f"{counted(overview.waiting, 'message')}, the oldest for {age((snapshot.now - overview.waiting_since) / 1000)}"
    )


def _p95(times: Sequence[float]) -> float:
    return quantiles(times, n=20, method="inclusive")[-1] if len(times) > 1 else times[0]


def document(snapshot: Snapshot, problems: Sequence[str]) -> dict[str, Any]:
    """The same for programs."""
    overview = snapshot.overview
    times = overview.reply_times
    return {
        "at": iso_time(snapshot.now),
        "ok": not problems,
        "problems": list(problems),
        "queue": {
            "kinds": {
                name: {
                    "ready": kind.ready,
                    "scheduled": kind.scheduled,
                    "running": kind.running,
                    "dead": kind.dead,
                    "oldest_wait_seconds": kind.oldest_wait,
                }
                for name, kind in snapshot.stats.kinds.items()
            },
            "dead": snapshot.dead,
            "oldest_wait_seconds": snapshot.oldest_wait,
        },
        "conversations": {
            "by_status": {name: overview.statuses.get(name, 0) for name in ("active", "idle", "closed")},
            "by_owner": {name: overview.owners.get(name, 0) for name in ("ai", "human", "nobody")},
            "waiting": overview.waiting,
            "waiting_since": iso_time(overview.waiting_since),
        },
        "sends": {
            **{name: overview.pending.get(name, 0) for name in ("ready", "sending", "ambiguous")},
            "failed_last_day": overview.failed,
            "undelivered_last_day": overview.undelivered,
            "reply_seconds": {"median": median(times), "p95": _p95(times), "count": len(times)} if times else None,
        },
        "processes": [
            {
                "role": process.role,
                "host": process.host,
                "pid": process.pid,
                "version": process.version,
                "started_at": iso_time(process.started_at),
                "seen_at": iso_time(process.seen_at),
                "seen_seconds_ago": snapshot.silence(process),
                "status": process.status,
                "gone": process.gone,
            }
            for process in snapshot.processes
        ],
        "database": {
            "path": str(snapshot.path),
            "bytes": snapshot.database_bytes,
            "log_bytes": snapshot.log_bytes,
            "accepts": snapshot.accepts,
        },
    }
