"""`convoq contacts`: a person, with all their conversations; block, unblock, export and erase them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from convoq.cli import erasing, exporting, knowing
from convoq.cli.acting import Ways, add_identity, run_act
from convoq.cli.arguments import conversation, one_line
from convoq.cli.lookup import find_person
from convoq.cli.terminal.output import print_json, say
from convoq.cli.terminal.table import print_table
from convoq.text import age, harmless, local_time

if TYPE_CHECKING:
    from convoq.conversations.persons import PersonOnRecord
    from convoq.settings import Options


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "contacts",
        help="show a person; block, unblock, export and erase",
        description="The people who wrote to you, or whom you wrote to.",
        epilog="example:\n  convoq contacts show +15551230001",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    showing = commands.add_parser(
        "show",
        help="a person and their conversations",
        description="Shows a person: whether messages may go out to them, and their newest conversations.",
        epilog="example:\n  convoq contacts show +15551230001",
    )
    showing.add_argument("who", type=conversation, metavar="WHO", help=knowing.WHICH)
    showing.add_argument("--json", action="store_true", help="for programs")
    showing.set_defaults(run=show)
    blocking = commands.add_parser(
        "block",
        help="answer this person no more",
        description="Blocks a person: nothing goes out to them any more that had not left, neither by WhatsApp nor by\n"
        "SMS, and what they write is recorded and answered by nobody. They are not told.",
        epilog="example:\n  convoq contacts block +15551230001 --reason 'insults the staff'",
    )
    blocking.add_argument("who", type=conversation, metavar="WHO", help=knowing.WHICH)
    blocking.add_argument("--reason", type=one_line, metavar="TEXT", help="for your colleagues")
    add_identity(blocking)
    blocking.set_defaults(run=block)
    unblocking = commands.add_parser(
        "unblock",
        help="answer this person again",
        description="Ends a block: who answered before does so again. What was written meanwhile stays unanswered.",
        epilog="example:\n  convoq contacts unblock +15551230001",
    )
    unblocking.add_argument("who", type=conversation, metavar="WHO", help=knowing.WHICH)
    add_identity(unblocking)
    unblocking.set_defaults(run=unblock)
    knowing.add_parsers(commands)
    exporting.add_parser(commands)
    erasing.add_parser(commands)


def show(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_existing, run_async
    from convoq.conversations.queries import Reading
    from convoq.monitoring.act_documents import person_document

    async def main(options: Options) -> int:
        async with open_existing(options) as database:
            person = await find_person(Reading(database), args.who)
            if args.json:
                print_json(person_document(person))
            else:
                _print(person, now=database.clock.now())
            return 0

    return run_async(main(load_settings(args.config).options))


def _print(person: PersonOnRecord, *, now: int) -> None:
    from convoq.cli.conversation_text import answered_by

    contacts = (person.contact, *person.others)
    names = list(dict.fromkeys(contact.name for contact in contacts if contact.name))
    print(harmless(", ".join([*names[:1], *(contact.address for contact in contacts)])))
    for contact in contacts:
        if contact.opted_out_at is not None:
            where = f" at {harmless(contact.address)}" if person.others else ""
            print(f"opted out{where} {local_time(contact.opted_out_at)}: only their START lets messages through again")
    if blocked := [contact.blocked_at for contact in contacts if contact.blocked_at is not None]:
        print(f"blocked {local_time(min(blocked))}: convoq contacts unblock {harmless(person.contact.address)}")
    knowing.print_facts(person)
    header = ("CONVERSATION", "OUR NUMBER", "STATUS", "BY", "OPENED", "LAST")
    rows = [
        (
            str(one.id), one.our_address, str(one.status), answered_by(one), local_time(one.opened_at),
            age((now - one.last_message_at) / 1000),
        )
        for one in person.conversations
    ]  # fmt: skip
    print_table(header, rows, right=("CONVERSATION", "LAST"), ends=("OUR NUMBER",), whole=("OPENED",))


def block(args: argparse.Namespace) -> int:
    from convoq.monitoring.act_documents import person_document

    async def act(ways: Ways) -> PersonOnRecord:
        person = await find_person(ways.reading, args.who)
        await ways.acts.block(person.contact.id, args.reason)
        return await find_person(ways.reading, args.who)

    def tell(person: PersonOnRecord) -> None:
        say(f"{person.contact.address} is blocked: nothing goes out to them any more")

    return run_act(args, act, person_document, tell)


def unblock(args: argparse.Namespace) -> int:
    from convoq.monitoring.act_documents import person_document

    async def act(ways: Ways) -> PersonOnRecord:
        person = await find_person(ways.reading, args.who)
        await ways.acts.unblock(person.contact.id)
        return await find_person(ways.reading, args.who)

    def tell(person: PersonOnRecord) -> None:
        say(f"{person.contact.address} is answered again")

    return run_act(args, act, person_document, tell)
