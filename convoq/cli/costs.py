"""`convoq costs`: what the models have cost, by day, number, person or model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convoq.cli.arguments import SINCE, moment
from convoq.cli.terminal.output import print_json, say
from convoq.cli.terminal.table import print_table

if TYPE_CHECKING:
    from convoq.conversations.costs import CostLine

GROUPS = ("day", "number", "contact", "model")


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "costs",
        help="what the models have cost",
        description="Adds up what requests to models have cost, in tokens and money: also those for answers that were\n"
        "given up, and those that were cut off. Phone numbers are masked unless --full is given.",
        epilog="example:\n  convoq costs --since 30d --by number",
    )
    parser.add_argument("--since", type=moment, default="7d", metavar="WHEN", help=f"{SINCE} (default: 7d)")
    parser.add_argument("--by", choices=GROUPS, default="day", help="what to add up by (default: day)")
    parser.add_argument("--full", action="store_true", help="phone numbers in full")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_existing, run_async
    from convoq.conversations.costs import CostsBy, read_costs
    from convoq.monitoring.cost_documents import costs_document

    options = load_settings(args.config).options

    async def main() -> tuple[int, list[CostLine]]:
        async with open_existing(options) as database:
            since = args.since(database.clock.now())
            return since, await read_costs(database, CostsBy(args.by), since)

    since, costs = run_async(main())
    if args.json:
        print_json(costs_document(costs, by=args.by, since=since, full=args.full))
    elif not costs:
        print("No model was asked in that time.")
    else:
        _print(costs, args.by, full=args.full)
    return 0


def _print(costs: Sequence[CostLine], by: str, *, full: bool) -> None:
    from convoq.monitoring.cost_documents import cost_key
    from convoq.text import counted

    rows = [_row(cost_key(line, by, full=full), line) for line in costs]
    numbers = ("REQUESTS", "INPUT", "CACHED", "OUTPUT", "CUT OFF", "COST")
    print_table((by.upper(), *numbers), rows, right=numbers, ends=(by.upper(),))
    if unpriced := sum(line.unpriced for line in costs):
        say(f"What {counted(unpriced, 'request')} cost is not known: their models have no price in [[prices]].")


def _row(key: str, line: CostLine) -> tuple[str, ...]:
    tokens = (line.requests, line.input_tokens, line.cached_tokens, line.output_tokens, line.unheard_tokens)
    return (key, *(f"{number:,}" for number in tokens), _money(line))


def _money(line: CostLine) -> str:
    known = f"{line.cost // 1_000_000:,}.{line.cost % 1_000_000 // 100:04} {line.currency or ''}".rstrip()
    if not line.unpriced:
        return known
    return "unknown" if line.unpriced == line.requests else f"{known} and unknown"
