"""`convoq jobs problems`: what went wrong, by cause."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convoq.cli.arguments import SINCE, moment
from convoq.cli.terminal.output import print_json
from convoq.text import age, counted, harmless, masked

if TYPE_CHECKING:
    from convoq.operating.problems import Problem
    from convoq.settings import Options


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "problems",
        help="what went wrong, by cause",
        description="Puts together what failed of the same: dead letters, jobs that are held back, and messages that\n"
        "did not leave or did not arrive. Says whom it concerns, what brings it back, and what is to be mended first.",
        epilog="example:\n  convoq jobs problems --since 7d",
    )
    parser.add_argument(
        "--since", type=moment, default="24h", metavar="WHEN", help=f"messages {SINCE} (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=show)


def show(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_jobs, run_async
    from convoq.monitoring.problem_documents import problems_document
    from convoq.operating.problems import read_problems

    async def main(options: Options) -> int:
        async with open_jobs(options) as (database, jobs):
            now = database.clock.now()
            found = await read_problems(database, jobs, since=args.since(now))
        if args.json:
            print_json(problems_document(found))
        elif not found:
            print("Nothing failed, and nothing is held back.")
        else:
            _print(found, now)
        return 0

    return run_async(main(load_settings(args.config).options))


def _print(problems: Sequence[Problem], now: int) -> None:
    for number, one in enumerate(problems):
        if number:
            print()
        what = f"{one.kind} jobs" if one.kind else "messages"
        many = f"{one.count}{' or more' if one.is_capped else ''}"
        print(f"{many} {one.sort} {what}, of {counted(one.people, 'person', 'people')}: {harmless(masked(one.said))}")
        print(f"  since    {age((now - one.since) / 1000)}, the newest {age((now - one.newest) / 1000)} ago")
        if one.returns_at is not None:
            print(f"  returns  by itself in {age(max(0, one.returns_at - now) / 1000)}")
        print(f"  remedy   {harmless(one.remedy)}")
        if one.jobs or one.conversations:
            shown = ", ".join(map(str, one.jobs or one.conversations))
            print(f"  {'jobs' if one.jobs else 'chats':<8} {shown}{', ...' if one.count > len(one.jobs) > 0 else ''}")
