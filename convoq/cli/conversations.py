"""`convoq conversations`: list, show and follow them; what is done in them is in stepping_in, pauses and resend."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, Any, Final

from convoq.cli import pauses, resend, stepping_in, turns
from convoq.cli.acting import acting_name
from convoq.cli.arguments import SINCE, conversation, conversation_id, message_id, moment, one_line, positive
from convoq.cli.lookup import find_conversation
from convoq.cli.terminal.output import print_json, print_raw, say
from convoq.errors import ConvoqError

if TYPE_CHECKING:
    from convoq.conversations.queries import Line, Reading
    from convoq.conversations.search import ConversationFilter
    from convoq.db.store import Store
    from convoq.settings import Options

LOOK_INTERVAL_SECONDS: Final = 0.25  # between two looks for what is new; a look that finds nothing costs microseconds


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "conversations",
        help="list, show and follow conversations, take them over",
        description="What people wrote, what they were answered, whether it arrived, and who answers.",
        epilog="example:\n  convoq conversations list --waiting",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_list(commands)
    _add_show(commands)
    _add_tail(commands)
    stepping_in.add_parsers(commands)
    pauses.add_parsers(commands)
    resend.add_parser(commands)
    turns.add_parser(commands)


def _add_list(commands: Any) -> None:
    listing = commands.add_parser(
        "list",
        help="latest activity first",
        description="Lists conversations, latest activity first. Phone numbers are masked unless --full is given.",
        epilog="example:\n  convoq conversations list --status active --text refund",
    )
    group = listing.add_argument_group("which conversations (every given condition holds)")
    group.add_argument("--status", action="append", choices=("active", "idle", "closed"), help="with this status")
    group.add_argument("--owner", action="append", choices=("ai", "waiting", "human", "nobody"), help="answered by")
    group.add_argument(
        "--view",
        choices=("open", "mine", "person", "ai", "failed", "closed"),
        help="what you come for; in person and ai who has waited longest comes first",
    )
    group.add_argument("--as", dest="name", type=one_line, metavar="NAME", help="whose --view mine is (your login)")
    group.add_argument("--number", metavar="ADDRESS", help="over this number of yours")
    group.add_argument("--address", metavar="TEXT", help="with this in the person's address, e.g. 5551230001")
    group.add_argument("--since", type=moment, metavar="WHEN", help=SINCE)
    group.add_argument("--text", metavar="TEXT", help="with this text in a message")
    group.add_argument("--waiting", action="store_true", help="with a message that waits for its answer")
    group.add_argument(
        "--failed",
        action="store_true",
        help="with a message that could not be answered, or a reply that did not arrive",
    )
    listing.add_argument("--limit", type=positive, default=50, metavar="N", help="at most N (default: %(default)s)")
    listing.add_argument("--before", type=conversation_id, metavar="ID", help="the page after this conversation")
    listing.add_argument("--full", action="store_true", help="phone numbers in full")
    listing.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(run=list_conversations)


def _add_show(commands: Any) -> None:
    showing = commands.add_parser(
        "show",
        help="the transcript of one",
        description="Prints a conversation: every message, what became of it, and who changed what. Phone numbers are\n"
        "shown in full; control characters in messages are shown escaped.",
        epilog="example:\n  convoq conversations show 12 --limit 20",
    )
    showing.add_argument("id", type=conversation, metavar="ID", help="its id, or a person's number: their latest one")
    showing.add_argument("--limit", type=positive, default=200, metavar="N", help="the newest N (default: %(default)s)")
    showing.add_argument("--before", type=message_id, metavar="MESSAGE", help="those before this message")
    form = showing.add_mutually_exclusive_group()
    form.add_argument(
        "--raw",
        action="store_true",
        help="only the texts, as they were written (a terminal gets control characters escaped)",
    )
    form.add_argument("--json", action="store_true", help="for programs")
    showing.set_defaults(run=show_conversation)


def _add_tail(commands: Any) -> None:
    tailing = commands.add_parser(
        "tail",
        help="follow messages as they come",
        description="Prints the newest messages, then each one as it comes and each change of a delivery. Ctrl-C ends\n"
        "it. The person's address is masked unless --full is given; texts are shown as they were written,\n"
        "with the numbers in them. With --json: one object a line.",
        epilog="example:\n  convoq conversations tail --json | jq .message.text",
    )
    tailing.add_argument(
        "id", nargs="?", type=conversation, metavar="ID", help="only this one: its id, or a person's number"
    )
    tailing.add_argument("--lines", "-n", type=int, default=10, metavar="N", help="start with N (default: %(default)s)")
    tailing.add_argument("--full", action="store_true", help="addresses in full")
    tailing.add_argument("--json", action="store_true", help="for programs, one object a line")
    tailing.set_defaults(run=tail)


def list_conversations(args: argparse.Namespace) -> int:
    from convoq.cli.conversation_text import print_summaries
    from convoq.cli.session import load_settings, open_existing, run_async
    from convoq.conversations.queries import Reading
    from convoq.monitoring.documents import conversations_document

    async def main(options: Options) -> int:
        async with open_existing(options) as database:
            reading = Reading(database)
            where = await _filter(args, database, options)
            before = await _place(reading, args.before, where)
            found = await reading.find(where, limit=args.limit + 1, before=before)
            shown, more = found[: args.limit], len(found) > args.limit
            if args.json:
                print_json(conversations_document(shown, more=more, full=args.full))
                return 0
            print_summaries(shown, now=database.clock.now(), full=args.full)
            if more:
                say(f"There are more: convoq conversations list --before {shown[-1].conversation.id}")
            return 0

    return run_async(main(load_settings(args.config).options))


async def _place(reading: Reading, before: int | None, where: ConversationFilter) -> tuple[int, int] | None:
    if before is None:
        return None
    summary = await reading.summary(before)
    if summary is None:
        raise ConvoqError(f"there is no conversation {before}")
    return summary.place(where)


async def _filter(args: argparse.Namespace, database: Store, options: Options) -> ConversationFilter:
    """Raises ConvoqError."""
    from convoq.conversations.queries import Reading
    from convoq.conversations.search import ConversationFilter
    from convoq.conversations.states import Owner, Status
    from convoq.operating.inbox import View, seen_as
    from convoq.operating.numbers import our_addresses, pick_address

    number = args.number
    where = ConversationFilter(
        statuses=tuple(map(Status, args.status)) if args.status else None,
        owners=tuple(map(Owner, args.owner)) if args.owner else None,
        our_address=number and pick_address(number, await our_addresses(Reading(database), options)),
        address=args.address,
        text=args.text,
        since=None if args.since is None else args.since(database.clock.now()),
        waiting=args.waiting,
        failed=args.failed,
    )
    if args.view is None:
        return where
    return seen_as(View(args.view), where, await acting_name(database, args.name, listed=args.view == View.MINE))


def show_conversation(args: argparse.Namespace) -> int:
    from convoq.cli.conversation_text import print_transcript
    from convoq.cli.session import load_settings, open_jobs, run_async
    from convoq.conversations.queries import Reading
    from convoq.monitoring.documents import transcript_document
    from convoq.monitoring.transcripts import unanswered_jobs

    async def main(options: Options) -> int:
        async with open_jobs(options) as (database, admin):
            reading = Reading(database)
            found = await find_conversation(reading, args.id)
            transcript = await reading.transcript(found.id, limit=args.limit, before=args.before)
            if transcript is None:
                raise ConvoqError(f"there is no conversation {args.id}")
            jobs = await unanswered_jobs(transcript, admin)
            if args.json:
                print_json(transcript_document(transcript, jobs))
            elif args.raw:
                for line in transcript.lines:
                    print_raw(line.message.body)
            else:
                print_transcript(transcript, jobs, now=database.clock.now())
            return 0

    return run_async(main(load_settings(args.config).options))


def tail(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_existing, run_async
    from convoq.conversations.queries import Reading

    async def main(options: Options) -> int:
        async with open_existing(options) as database:
            only = None if args.id is None else (await find_conversation(Reading(database), args.id)).id
            await _Tail(database, only, full=args.full, as_json=args.json).run(max(0, args.lines))
            return 0

    return run_async(main(load_settings(args.config).options))


class _Tail:
    """Prints what is new for as long as it runs."""

    def __init__(self, database: Store, conversation_id: int | None, *, full: bool, as_json: bool) -> None:
        from convoq.conversations.queries import Reading

        self._database = database
        self._reading = Reading(database)
        self._conversation_id = conversation_id
        self._full = full
        self._as_json = as_json
        self._last = 0
        self._deliveries: dict[int, str] = {}  # of the newest parts, as printed

    async def run(self, lines: int) -> None:
        """Starts with the newest `lines`; never returns. Raises DatabaseRefused when the file is replaced."""
        changes = await self._database.changes()
        await self._begin(lines)
        while True:
            await asyncio.sleep(LOOK_INTERVAL_SECONDS)
            seen = await self._database.changes()
            if seen != changes:
                changes = seen
                await self._database.check()
                await self._look()

    async def _begin(self, lines: int) -> None:
        from convoq.conversations.queries import delivery_of

        newest = await self._reading.newest_lines(max(1, lines), conversation_id=self._conversation_id)
        self._last = newest[-1].message.id if newest else 0
        for line in newest if lines else ():
            await self._print(line)
        self._deliveries = {part.id: delivery_of(part) for part in await self._reading.newest_parts()}

    async def _look(self) -> None:
        while found := await self._reading.lines_after(self._last, conversation_id=self._conversation_id):
            for line in found:
                await self._print(line)
            self._last = found[-1].message.id
        await self._print_deliveries()

    async def _print(self, line: Line) -> None:
        from convoq.cli.conversation_text import print_line
        from convoq.monitoring.documents import line_event

        conversation = await self._reading.get(line.conversation_id)
        if conversation is None:
            return
        if self._as_json:
            print_json(line_event(line, conversation, full=self._full))
        else:
            print_line(line, conversation, full=self._full)

    async def _print_deliveries(self) -> None:
        """Only of parts whose messages were printed: the look for messages comes first."""
        from convoq.cli.conversation_text import print_delivery
        from convoq.conversations.queries import delivery_of
        from convoq.monitoring.documents import delivery_event

        for part in await self._reading.newest_parts():
            foreign = self._conversation_id not in (None, part.conversation_id)
            word = delivery_of(part)
            if foreign or part.message_id > self._last or self._deliveries.get(part.id, "ready") == word:
                continue
            self._deliveries[part.id] = word
            if self._as_json:
                print_json(delivery_event(part))
            else:
                print_delivery(part, now=self._database.clock.now(), full=self._full)
