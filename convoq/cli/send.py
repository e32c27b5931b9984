"""`convoq send`: an operator writes to a number, which may be a new one."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any, Final

from convoq.cli.acting import Ways, add_force, add_identity, run_act
from convoq.cli.arguments import address
from convoq.cli.stepping_in import add_key, tell_written
from convoq.cli.terminal.output import UsageError
from convoq.cli.wording import add_wording, read_wording

if TYPE_CHECKING:
    from convoq.conversations.operators import Written

FULL: Final = re.compile(r"([a-z]+:)?\+[0-9]{7,15}$")


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "send",
        help="write to a person",
        description="Sends your text to an address, also to who has never written. On WhatsApp text goes out within\n"
        "24 hours of their last message, and a template (convoq templates list) at any time. The\n"
        "conversation is yours from then on: the AI answers there again once you release it. A program that\n"
        "only announces something takes convoq.connect, or convoq enqueue send_message: then the AI answers\n"
        "what comes back.",
        epilog="example:\n  convoq send +15551230001 'Your table is ready.' --from +15550009999 --as Marta",
    )
    parser.add_argument("address", type=address, metavar="ADDRESS", help="whatsapp:+15551230001, or +15551230001 (SMS)")
    add_wording(parser)
    parser.add_argument(
        "--from", dest="sender", metavar="ADDRESS", help="which number of yours (default: the only one that suits)"
    )
    add_key(parser)
    add_force(parser)
    add_identity(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from convoq.jobs import SendMessage
    from convoq.monitoring.act_documents import written_document
    from convoq.operating.numbers import our_addresses

    said = read_wording(args)
    channel = SendMessage.model_fields["channel"].default

    async def act(ways: Ways) -> Written:
        sender = _sender(args.sender, args.address, await our_addresses(ways.reading, ways.options))
        return await ways.acts.write_to(channel, sender, args.address, said, key=args.key, force=args.force)

    return run_act(args, act, written_document, tell_written)


def _sender(given: str | None, address: str, known: list[str]) -> str:
    """One of ours that reaches the address: in full it may be one without any message. Raises ConvoqError."""
    from convoq.operating.numbers import pick_address

    scheme = address.rpartition(":")[0]
    suitable = [one for one in known if one.rpartition(":")[0] == scheme]
    if given is not None:
        return given if FULL.match(given) and given.rpartition(":")[0] == scheme else pick_address(given, suitable)
    if len(suitable) != 1:
        kind = scheme or "SMS"
        several = f"say which number of yours, with --from: {', '.join(suitable)}"
        none = f"no number of yours is known for {kind}: nobody has written to one yet, and [[numbers]] names none"
        raise UsageError(several if suitable else none)
    return suitable[0]
