"""`convoq schedules`: what is enqueued when."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from convoq.cli.arguments import positive
from convoq.cli.terminal.output import print_json
from convoq.cli.terminal.table import print_table
from convoq.errors import ConvoqError
from convoq.text import age

if TYPE_CHECKING:
    from convoq.clock import Clock
    from convoq.scheduler.entries import ScheduleEntry
    from convoq.settings import Options


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "schedules",
        help="what runs when",
        description="convoq's own upkeep and your [[schedules]].",
        epilog="example:\n  convoq schedules next morning-greeting --count 5",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    listing = commands.add_parser(
        "list",
        help="every entry, with its next run",
        description="Lists every entry of the schedule.",
        epilog="example:\n  convoq schedules list --json",
    )
    listing.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(run=list_entries)
    following = commands.add_parser(
        "next",
        help="the next runs",
        description="Prints when entries run next, in their own time zone. Days on which the clocks change included.",
        epilog="example:\n  convoq schedules next morning-greeting --count 5",
    )
    following.add_argument("name", nargs="?", metavar="NAME", help="of one entry (default: all)")
    following.add_argument("--count", type=positive, default=3, metavar="N", help="how many (default: %(default)s)")
    following.add_argument("--json", action="store_true", help="for programs")
    following.set_defaults(run=next_runs)


def list_entries(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, run_async
    from convoq.monitoring.documents import schedules_document

    options = load_settings(args.config).options
    entries, clock = run_async(_read(options))
    runs = {entry.name: _runs(entry, 1, clock) for entry in entries}
    if args.json:
        print_json(schedules_document((entry, runs[entry.name]) for entry in entries))
        return 0
    rows = [
        (
            entry.name,
            f"every {age(entry.every or 0)}" if entry.cron is None else f"{entry.cron} {entry.timezone}",
            entry.kind,
            entry.missed,
            *_shown(runs[entry.name][:1]),
        )
        for entry in entries
    ]
    print_table(("NAME", "WHEN", "KIND", "MISSED", "NEXT", "IN"), rows, right=("IN",))
    return 0


def next_runs(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, run_async
    from convoq.monitoring.documents import schedules_document

    entries, clock = run_async(_read(load_settings(args.config).options))
    chosen = [entry for entry in entries if args.name in (None, entry.name)]
    if not chosen:
        raise ConvoqError(f"there is no schedule {args.name!r}: convoq schedules list")
    runs = {entry.name: _runs(entry, args.count, clock) for entry in chosen}
    if args.json:
        print_json(schedules_document((entry, runs[entry.name]) for entry in chosen))
        return 0
    rows = [(name, *_shown([moment])) for name, moments in runs.items() for moment in moments]
    print_table(("NAME", "NEXT", "IN"), rows, right=("IN",))
    return 0


async def _read(options: Options) -> tuple[Sequence[ScheduleEntry], Clock]:
    """The entries, and the queue's clock; the wall's where there is no database yet, which is nearly the same."""
    from convoq.cli.session import open_existing
    from convoq.clock import WallClock
    from convoq.scheduler.entries import entries_from

    entries = entries_from(options.schedules)
    if not options.database.path.exists():
        return entries, WallClock()
    async with open_existing(options) as database:
        return entries, database.clock


def _runs(entry: ScheduleEntry, count: int, clock: Clock) -> list[datetime]:
    from convoq.clock import WallClock
    from convoq.scheduler.entries import next_runs as runs_of

    return runs_of(entry, count, queue_clock=clock, wall_clock=WallClock())


def _shown(runs: Sequence[datetime]) -> tuple[str, str]:
    from convoq.clock import WallClock

    if not runs:
        return "never", ""
    wait = runs[0].timestamp() - WallClock().now() / 1000
    return runs[0].strftime("%Y-%m-%d %H:%M:%S %Z"), age(wait)
