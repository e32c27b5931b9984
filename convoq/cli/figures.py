"""`convoq figures`: what came, who answered how fast, what was handed over, by day."""

from __future__ import annotations

import argparse
import datetime as dt
from typing import TYPE_CHECKING, Any

from convoq.cli.arguments import shortened
from convoq.cli.terminal.output import print_json
from convoq.cli.terminal.table import print_table
from convoq.text import counted

if TYPE_CHECKING:
    from convoq.operating.figures import Figures
    from convoq.settings import Options


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "figures",
        help="what came, who answered how fast, what was handed over",
        description="Adds up days: messages, answers and how fast they came, hand-overs and how fast they were taken,\n"
        "drafts that were given up, what did not arrive. What it cost: convoq costs.",
        epilog="example:\n  convoq figures --from 2026-11-01 --to 2026-11-30",
    )
    parser.add_argument("--from", dest="first", type=date, metavar="DAY", help="the first day (default: 30 days)")
    parser.add_argument("--to", dest="last", type=date, metavar="DAY", help="the last day (default: today)")
    parser.add_argument("--number", metavar="ADDRESS", help="over this number of yours")
    parser.add_argument("--persona", metavar="NAME", help="where this persona answers")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def date(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shortened(text)} is no day such as 2026-11-22") from None


def run(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_existing, run_async
    from convoq.clock import WallClock
    from convoq.conversations.queries import Reading
    from convoq.monitoring.figure_documents import figures_document
    from convoq.operating.figures import read_figures
    from convoq.operating.numbers import our_addresses, pick_address

    async def main(options: Options) -> Figures:
        async with open_existing(options) as database:
            number = args.number and pick_address(args.number, await our_addresses(Reading(database), options))
            return await read_figures(
                database, options, WallClock(), first=args.first, last=args.last, number=number, persona=args.persona
            )

    figures = run_async(main(load_settings(args.config).options))
    if args.json:
        print_json(figures_document(figures))
    else:
        _print(figures)
    return 0


def _print(figures: Figures) -> None:
    header = ("DAY", "ACCEPTED", "BY AI", "BY PEOPLE", "UNANSWERED", "P50", "P95", "HANDED", "GIVEN UP", "UNDELIVERED")
    rows = [
        (
            day.date.isoformat(), f"{day.accepted:,}", f"{day.answered_by_ai:,}", f"{day.answered_by_people:,}",
            f"{day.unanswered:,}", _seconds(day.reply_p50), _seconds(day.reply_p95), f"{day.handed_over:,}",
            _share(day.superseded, day.drafts), f"{day.undelivered:,}",
        )
        for day in figures.days
        if day.accepted or day.opened or day.undelivered
    ]  # fmt: skip
    if not rows:
        print(f"Nothing came from {figures.first} to {figures.last}.")
        return
    print_table(header, rows, right=header[1:], whole=("DAY",))
    for one in figures.handovers:
        took = (
            "" if one.taken_p50 is None else f", taken after {_seconds(one.taken_p50)} (p95 {_seconds(one.taken_p95)})"
        )
        print(f"handed over, {one.reason}: {counted(one.count, 'time')}, {one.taken} taken{took}")
    for code, parts in figures.undelivered_by_code.items():
        print(f"not delivered, {code or 'without a code'}: {counted(parts, 'part')}")


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else ""
