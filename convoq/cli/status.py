"""`convoq status`: everything at a glance, and an exit code for monitoring."""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from convoq.cli.terminal.output import colored, print_json
from convoq.cli.terminal.table import lines, terminal_width
from convoq.monitoring.documents import status_document
from convoq.monitoring.roles import ROLES, SILENT_AFTER_SECONDS
from convoq.monitoring.snapshot import GONE, Alert, AlertLimits, Snapshot
from convoq.text import age, counted, harmless, local_time, size

if TYPE_CHECKING:
    from convoq.settings import Options


DEFAULTS: Final = AlertLimits()


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "status",
        help="the queue, the conversations and the processes at a glance",
        description="Shows what waits, what failed, and which processes were seen. With --exit-code it ends with 1\n"
        "when something is wrong, for monitoring: a role that is missing, gone or silent for "
        f"{SILENT_AFTER_SECONDS:g} s, a job or a\n"
        "person that waited too long, dead letters, messages that were not delivered for a reason that may\n"
        "concern everybody, a log that a reader holds, a full disk.",
        epilog="examples:\n  convoq status --watch\n  convoq status --exit-code --max-wait 120 --max-dead 5",
    )
    parser.add_argument(
        "--watch", nargs="?", type=_interval, const=2.0, metavar="SECONDS", help="show it again and again (default: 2)"
    )
    parser.add_argument("--json", action="store_true", help="for programs; with --watch one object a line")
    parser.add_argument("--exit-code", action="store_true", help="end with 1 when something is wrong")
    parser.add_argument(
        "--max-wait",
        type=_seconds,
        default=DEFAULTS.max_wait,
        metavar="SECONDS",
        help=f"how long a job may wait (default: {DEFAULTS.max_wait:g})",
    )
    parser.add_argument(
        "--max-dead",
        type=_count,
        default=DEFAULTS.max_dead,
        metavar="N",
        help="how many may be dead (default: %(default)s)",
    )
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
    from convoq.operating.overview import read_state

    limits = AlertLimits(roles=args.role or DEFAULTS.roles, max_wait=args.max_wait, max_dead=args.max_dead)

    async def main(options: Options) -> int:
        async with open_jobs(options) as (database, jobs):
            while True:
                snapshot, alerts = await read_state(database, jobs, options, limits)
                show(snapshot, alerts, as_json=args.json, redraw=args.watch is not None)
                if args.watch is None:
                    return 1 if alerts and args.exit_code else 0
                await asyncio.sleep(args.watch)
                await database.check()

    return run_async(main(load_settings(args.config).options))


def show(snapshot: Snapshot, alerts: Sequence[Alert], *, as_json: bool, redraw: bool) -> None:
    if as_json:
        print_json(status_document(snapshot, alerts))
        return
    text = "\n".join(screen(snapshot, alerts)) + "\n"
    if redraw and sys.stdout.isatty():
        # One write that overwrites the screen line by line: clearing it first would flicker.
        text = "\x1b[H" + text.replace("\n", "\x1b[K\n") + "\x1b[J"
    print(text, end="\n" if redraw and not sys.stdout.isatty() else "", flush=True)


def screen(snapshot: Snapshot, alerts: Sequence[Alert]) -> Iterator[str]:
    """The lines for people."""
    yield colored("bold", "Queue")
    yield from _table(("KIND", "READY", "SCHEDULED", "RUNNING", "DEAD", "OLDEST"), _kinds(snapshot))
    yield ""
    yield from _conversations(snapshot)
    yield ""
    yield colored("bold", "Processes")
    yield from _table(("ROLE", "HOST", "PID", "VERSION", "UP", "SEEN", "STATUS"), _processes(snapshot))
    yield ""
    if snapshot.holds:
        yield colored("bold", "Held back")
        yield from _table(("RULE", "FOR", "UNTIL", "WHAT"), _holds(snapshot))
        yield ""
    if snapshot.pauses:
        yield colored("bold", "Paused schedules")
        yield from _table(("NAME", "FOR", "REASON"), _pauses(snapshot))
        yield ""
    yield colored("bold", "Database")
    log = f", log {size(snapshot.log.bytes)}" if snapshot.log else ""
    yield f"  {harmless(snapshot.location)}: {size(snapshot.database_bytes)}{log}"
    if snapshot.kept:
        yield f"  kept: {snapshot.kept}"
    yield ""
    for alert in alerts:
        yield f"{colored('red', 'problem')}  {harmless(str(alert))}"
    if not alerts:
        yield colored("green", "all well")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    width = terminal_width()
    for line in lines(header, rows, right=_NUMBERS, whole=_WHOLE, width=None if width is None else width - 2):
        yield f"  {line}"


def _conversations(snapshot: Snapshot) -> Iterator[str]:
    from convoq.channels.twilio.errors import hint

    overview = snapshot.overview
    yield colored("bold", "Conversations")
    yield f"  {_tally(overview.statuses, ('active', 'idle', 'closed'))}"
    if any(overview.owners.get(owner) for owner in ("waiting", "human", "nobody")):
        yield f"  open ones answered by: {_tally(overview.owners, ('ai', 'human', 'waiting', 'nobody'))}"
    yield f"  waiting for an answer: {_waiting(snapshot)}"
    yield f"  replies on their way: {_tally(overview.pending, ('ready', 'sending', 'ambiguous'))}"
    yield f"  in the last 24 hours: {overview.failed} not sent, {overview.undelivered} not delivered"
    for code, parts in overview.undelivered_by_code:
        yield f"    {parts} x {code}: {harmless(hint(code))}"
    if overview.reply_times:
        yield f"  reply time: median {age(snapshot.reply_median)}, 95 % within {age(snapshot.reply_p95)}"


_NUMBERS = ("READY", "SCHEDULED", "RUNNING", "DEAD", "OLDEST", "PID", "UP", "SEEN", "FOR")
_WHOLE = ("ROLE", "RULE", "UNTIL")


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
            age(process.silence(snapshot.now)) + " ago",
            GONE if process.gone else process.status,
        )
        for process in snapshot.processes
    ] or [("(none)", "", "", "", "", "", "")]


def _pauses(snapshot: Snapshot) -> list[tuple[str, str, str]]:
    return [(pause.name, age((snapshot.now - pause.paused_at) / 1000), pause.reason or "") for pause in snapshot.pauses]


def _holds(snapshot: Snapshot) -> list[tuple[str, str, str, str]]:
    return [
        (
            hold.rule,
            "" if hold.since is None else age((snapshot.now - hold.since) / 1000),
            "" if hold.until is None else local_time(hold.until),
            harmless(hold.detail),
        )
        for hold in snapshot.holds
    ]


def _tally(counts: dict[str, int], names: Sequence[str]) -> str:
    return ", ".join(f"{counts.get(name, 0)} {name}" for name in names)


def _waiting(snapshot: Snapshot) -> str:
    if not snapshot.waiting:
        return "nobody"
    return f"{counted(snapshot.waiting, 'message')}, the oldest for {age(snapshot.longest_waiting)}"
