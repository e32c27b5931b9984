"""`convoq audit`: who did what."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from convoq.cli.arguments import SINCE, conversation_id, moment, one_line, positive
from convoq.cli.terminal.output import print_json, say
from convoq.cli.terminal.table import print_table
from convoq.text import local_time, masked

if TYPE_CHECKING:
    from convoq.conversations.audit_trail import AuditEntry
    from convoq.settings import Options


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "audit",
        help="who of yours did what",
        description="Lists what people of yours did in conversations, to contacts, pauses and operators, the newest\n"
        "first. Each entry was written with the act itself. Numbers are masked unless --full is given.",
        epilog="example:\n  convoq audit --who Marta --since 7d",
    )
    parser.add_argument("--who", type=one_line, metavar="NAME", help="by this person alone")
    parser.add_argument("--conversation", type=conversation_id, metavar="ID", help="in this conversation alone")
    parser.add_argument("--since", type=moment, metavar="WHEN", help=SINCE)
    parser.add_argument("--limit", type=positive, default=50, metavar="N", help="at most N (default: %(default)s)")
    parser.add_argument("--before", type=positive, metavar="ENTRY", help="the page after this entry")
    parser.add_argument("--full", action="store_true", help="phone numbers in full")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_existing, run_async
    from convoq.conversations.audit_trail import AuditTrail
    from convoq.monitoring.act_documents import audit_trail_document

    async def main(options: Options) -> int:
        async with open_existing(options) as database:
            found = await AuditTrail(database).list(
                limit=args.limit + 1,
                before=args.before,
                since=None if args.since is None else args.since(database.clock.now()),
                who=args.who,
                conversation_id=args.conversation,
            )
        shown, more = found[: args.limit], len(found) > args.limit
        if args.json:
            print_json(audit_trail_document(shown, more=more, full=args.full))
            return 0
        rows = [_row(entry, full=args.full) for entry in shown]
        header = ("ENTRY", "WHEN", "WHO", "ACT", "CONVERSATION", "DETAIL")
        print_table(header, rows, right=("ENTRY", "CONVERSATION"), whole=("WHEN", "ACT"))
        if more:
            say(f"There are more: convoq audit --before {shown[-1].id}")
        return 0

    return run_async(main(load_settings(args.config).options))


def _row(entry: AuditEntry, *, full: bool) -> tuple[str, ...]:
    detail = ", ".join(word for word in (entry.subject, entry.detail) if word)
    where = "" if entry.conversation_id is None else str(entry.conversation_id)
    return str(entry.id), local_time(entry.at), entry.who, entry.act, where, detail if full else masked(detail)
