"""`convoq contacts name` and `facts`: what a person is called, and what is to be known of them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from convoq.cli.acting import Ways, add_identity, run_act
from convoq.cli.arguments import conversation, one_line, positive
from convoq.cli.lookup import find_person
from convoq.cli.terminal.output import UsageError, print_json, say
from convoq.errors import ConvoqError
from convoq.text import counted, harmless, local_time

if TYPE_CHECKING:
    from convoq.conversations.persons import PersonOnRecord
    from convoq.settings import Options

WHICH = "the person's number, or the id of a conversation with them"


def add_parsers(commands: Any) -> None:
    naming = commands.add_parser(
        "name",
        help="what this person is called",
        description="Gives a person a name, which their own profile does not change any more. Without one the name is\n"
        "their own again, from their next message on.",
        epilog="example:\n  convoq contacts name +15551230001 'Ana Ruiz'",
    )
    naming.add_argument("who", type=conversation, metavar="WHO", help=WHICH)
    naming.add_argument("name_given", nargs="?", type=one_line, metavar="NAME")
    add_identity(naming)
    naming.set_defaults(run=name)
    knowing = commands.add_parser(
        "facts",
        help="what is to be known of this person, by colleagues and the AI",
        description="Lists what is written down of a person, adds to it and takes out of it. The AI reads it in each\n"
        "turn; the person does not.",
        epilog="examples:\n  convoq contacts facts +15551230001 --add 'vegetarian'\n"
        "  convoq contacts facts +15551230001 --remove 2",
    )
    knowing.add_argument("who", type=conversation, metavar="WHO", help=WHICH)
    knowing.add_argument("--add", action="append", default=[], type=one_line, metavar="TEXT", help="one line")
    knowing.add_argument("--remove", action="append", default=[], type=positive, metavar="N", help="at this place")
    add_identity(knowing)
    knowing.set_defaults(run=facts)


def name(args: argparse.Namespace) -> int:
    from convoq.conversations.contact_changes import ContactChange
    from convoq.monitoring.act_documents import person_document

    async def act(ways: Ways) -> PersonOnRecord:
        person = await find_person(ways.reading, args.who)
        await ways.acts.change_contact(person.contact.id, ContactChange(name=args.name_given or ""))
        return await find_person(ways.reading, args.who)

    def tell(person: PersonOnRecord) -> None:
        called = person.contact.name
        say(f"{person.contact.address} is {called}" if called else f"{person.contact.address} has a name of their own")

    return run_act(args, act, person_document, tell)


def facts(args: argparse.Namespace) -> int:
    from convoq.conversations.contact_changes import ContactChange
    from convoq.monitoring.act_documents import person_document

    if not args.add and not args.remove:
        return _show(args)

    async def act(ways: Ways) -> PersonOnRecord:
        person = await find_person(ways.reading, args.who)
        if missing := [number for number in args.remove if number > len(person.facts)]:
            raise ConvoqError(f"there is no fact {missing[0]}: convoq contacts facts {person.contact.address}")
        kept = [fact.text for place, fact in enumerate(person.facts, 1) if place not in args.remove]
        await ways.acts.change_contact(person.contact.id, ContactChange(facts=[*kept, *args.add]))
        return await find_person(ways.reading, args.who)

    def tell(person: PersonOnRecord) -> None:
        say(f"{counted(len(person.facts), 'fact')} of {person.contact.address}")

    return run_act(args, act, person_document, tell)


def _show(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_existing, run_async
    from convoq.conversations.queries import Reading
    from convoq.monitoring.act_documents import person_document

    if args.name is not None:
        raise UsageError("--as goes with --add or --remove")

    async def main(options: Options) -> int:
        async with open_existing(options) as database:
            person = await find_person(Reading(database), args.who)
        if args.json:
            print_json(person_document(person))
        else:
            print_facts(person)
        return 0

    return run_async(main(load_settings(args.config).options))


def print_facts(person: PersonOnRecord) -> None:
    for place, fact in enumerate(person.facts, 1):
        print(f"{place}  {harmless(fact.text)}  ({harmless(fact.who)}, {local_time(fact.at)})")
