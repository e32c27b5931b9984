"""`convoq operators`: the people of ours who may take conversations over."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from convoq.cli import access, signing_in
from convoq.cli.acting import Ways, add_identity, run_act
from convoq.cli.arguments import one_line
from convoq.cli.terminal.output import print_json, say
from convoq.cli.terminal.table import print_table
from convoq.text import counted, local_time

if TYPE_CHECKING:
    from convoq.conversations.operator_list import Operator
    from convoq.settings import Options


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "operators",
        help="who may take conversations over, and with what programs come in",
        description="The people of yours who take conversations over. Until the first one is added, whoever can\n"
        "reach the database may, under their login or any name; from then on only those in the list.",
        epilog="example:\n  convoq operators add Marta",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    adding = commands.add_parser(
        "add",
        help="one more, or one that was removed",
        description="Adds an operator, under the name that colleagues and the audit trail see.",
        epilog="example:\n  convoq operators add Marta",
    )
    adding.add_argument("operator", type=one_line, metavar="NAME", help="at most 40 characters")
    add_identity(adding)
    adding.set_defaults(run=add)
    phoning = commands.add_parser(
        "phone",
        help="whose own phone may text commands",
        description="From an operator's own phone, texts to a number of yours are commands: #42 text, /list, /bot off\n"
        "42, /bot on 42, /help. No AI answers them. Without a number the operator's phone is forgotten.",
        epilog="example:\n  convoq operators phone Marta '+34 600 000 001' --alerts",
    )
    phoning.add_argument("operator", metavar="NAME", help="as the list has it")
    phoning.add_argument("phone", nargs="?", type=_phone, metavar="NUMBER", help="with its country code")
    phoning.add_argument(
        "--alerts", action="store_true", help="tell there when a conversation waits for a person, six times an hour"
    )
    add_identity(phoning)
    phoning.set_defaults(run=phone)
    removing = commands.add_parser(
        "remove",
        help="one that is to act no more",
        description="Removes an operator: nothing is done in that name any more. What they had waits for a colleague.",
        epilog="example:\n  convoq operators remove Luis",
    )
    removing.add_argument("operator", metavar="NAME", help="as the list has it")
    add_identity(removing)
    removing.set_defaults(run=remove)
    listing = commands.add_parser(
        "list",
        help="all there are",
        description="Lists the operators by name.",
        epilog="example:\n  convoq operators list --json",
    )
    listing.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(run=list_all)
    access.add_parsers(commands)
    signing_in.add_parsers(commands)


def _phone(text: str) -> str:
    from convoq.phone import addresses_of

    try:
        number = addresses_of(text)[-1]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from error
    if not number.startswith("+"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number with its country code, such as +15551230001")
    return number


def phone(args: argparse.Namespace) -> int:
    from convoq.monitoring.act_documents import operators_document

    async def act(ways: Ways) -> Operator:
        return await ways.acts.set_phone(args.operator, args.phone, alerts=args.alerts)

    def tell(operator: Operator) -> None:
        if operator.phone is None:
            say(f"{operator.name} has no phone for commands any more")
        else:
            told = " and is told there who waits" if operator.alerts else ""
            say(f"what comes from {operator.phone} is {operator.name}'s{told}")

    return run_act(args, act, lambda operator: operators_document([operator]), tell, listed=False)


def add(args: argparse.Namespace) -> int:
    from convoq.conversations.operators import operator_name
    from convoq.monitoring.act_documents import operators_document

    name = operator_name(args.operator)

    async def act(ways: Ways) -> Operator:
        return await ways.acts.add_operator(name)

    def tell(operator: Operator) -> None:
        say(f"{operator.name} may take conversations over: --as {operator.name!r}")

    return run_act(args, act, lambda operator: operators_document([operator]), tell, listed=False)


def remove(args: argparse.Namespace) -> int:
    async def act(ways: Ways) -> int:
        return await ways.acts.remove_operator(args.operator)

    def tell(left: int) -> None:
        say(f"{args.operator} is no operator any more" + (f"; {counted(left, 'conversation')} waits" if left else ""))

    return run_act(args, act, lambda left: {"waiting_conversations": left}, tell, listed=False)


def list_all(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_existing, run_async
    from convoq.conversations.operator_list import OperatorList
    from convoq.monitoring.act_documents import operators_document

    async def main(options: Options) -> int:
        async with open_existing(options) as database:
            operators = await OperatorList(database).all()
        if args.json:
            print_json(operators_document(operators))
        elif not operators:
            say("There are none yet: whoever can reach the database may act, under any name.")
        else:
            print_table(
                ("NAME", "ADDED", "BY", "PHONE", "REMOVED"),
                [_row(one) for one in operators],
                whole=("ADDED", "REMOVED"),
            )
        return 0

    return run_async(main(load_settings(args.config).options))


def _row(operator: Operator) -> tuple[str, str, str, str, str]:
    removed = "" if operator.removed_at is None else f"{local_time(operator.removed_at)} by {operator.removed_by}"
    phone = "" if operator.phone is None else operator.phone + (", alerts" if operator.alerts else "")
    return operator.name, local_time(operator.added_at), operator.added_by, phone, removed
