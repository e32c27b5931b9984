"""`convoq catch-up`: messages whose webhook never came, looked for at once instead of within ten minutes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from convoq.cli.arguments import SINCE, moment
from convoq.cli.terminal.output import UsageError, print_json

if TYPE_CHECKING:
    from convoq.handlers.catch_up import Found


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "catch-up",
        help="fetch messages whose webhook never came",
        description="Asks Twilio for what people have written to the addresses that wrote to us in the last week, and\n"
        "enqueues what is not on record: after an outage, a lost tunnel, a restore. The worker does the same\n"
        "every ten minutes. What has been answered from elsewhere is put on record and not answered again;\n"
        "what is younger than two minutes may still come by itself.",
        epilog="example:\n  convoq catch-up --since 6h --dry-run",
    )
    parser.add_argument(
        "--since", type=moment, metavar="WHEN", help=f"{SINCE}, at most 29 days ago (default: since the last look)"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say how many")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from convoq.channels.opening import open_channels
    from convoq.cli.session import load_settings, open_queue, run_async
    from convoq.clock import DAY_MS, WallClock
    from convoq.conversations.catching_up import CatchUp
    from convoq.handlers.catch_up import FURTHEST_MS, CatchingUp

    wall = WallClock()
    now = wall.now()
    ago_ms = None if args.since is None else now - args.since(now)
    if ago_ms is not None and ago_ms > FURTHEST_MS:
        raise UsageError(
            f"--since looks back {FURTHEST_MS // DAY_MS} days at most: of what is older nothing tells any more whether "
            "it was answered"
        )
    options = load_settings(args.config).options

    async def main() -> int:
        async with open_channels(options, wall) as channels, open_queue(options) as (database, queue):
            enqueue = None if args.dry_run else queue.enqueue
            ago = None if ago_ms is None else ago_ms / 1000
            found = await CatchingUp(CatchUp(database), channels, enqueue, wall).look(ago)
        if args.json:
            print_json(found._asdict() | {"enqueued": 0 if args.dry_run else found.missing})
        else:
            print(_told(found, dry_run=args.dry_run))
        return 0

    return run_async(main())


def _told(found: Found, *, dry_run: bool) -> str:
    from convoq.text import counted

    if not found.missing:
        return f"Nothing is missing: {counted(found.listed, 'message')} at Twilio, all on record."
    verb = "would be" if dry_run else "is" if found.missing == 1 else "are"
    elsewhere = f", {found.answered} of them answered from elsewhere" if found.answered else ""
    return f"{found.missing} of {counted(found.listed, 'message')} at Twilio {verb} enqueued{elsewhere}."
