"""`convoq conversations resend`: what failed or did not arrive is sent once more, because an operator says so."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from convoq.cli.arguments import message_id
from convoq.cli.terminal.output import print_json, say
from convoq.errors import ConvoqError

if TYPE_CHECKING:
    from convoq.conversations.resending import Resent
    from convoq.settings import Options


def add_parser(commands: Any) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "resend",
        help="send a reply again that failed",
        description="Sends a message of ours again: those of its parts that failed or were not delivered. Nothing is\n"
        "sent to who has opted out, past WhatsApp's 24 hours, or in the AI's name once a person has taken\n"
        "over. Where it is not known whether a part was sent, Twilio is asked first.",
        epilog="example:\n  convoq conversations resend 31     # #31 in convoq conversations show",
    )
    parser.add_argument("id", type=message_id, metavar="MESSAGE", help="its number, as show prints it")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_follow_ups, run_async
    from convoq.clock import WallClock
    from convoq.conversations.resending import Resending
    from convoq.handlers.receive import enqueue_turns
    from convoq.monitoring.act_documents import resent_document

    async def main(options: Options) -> int:
        async with open_follow_ups(options) as (database, queue):
            follow_ups = queue.follow_ups()
            resent = await Resending(database, WallClock()).resend(args.id, partial(enqueue_turns, follow_ups))
            await follow_ups.send()
        if resent is None:
            raise ConvoqError(f"there is no message {args.id} of ours: convoq conversations show has their numbers")
        if args.json:
            print_json(resent_document(args.id, resent))
        return _tell(args.id, resent, quiet=args.json)

    return run_async(main(load_settings(args.config).options))


def _tell(message: int, resent: list[Resent], *, quiet: bool) -> int:
    from convoq.conversations.resending import Action

    reasons = {
        Action.SEND: "is sent again",
        Action.LOOK_UP: "Twilio is asked whether it was sent, and it is sent if not",
    }
    if all(one.action is Action.NOTHING for one in resent):
        why = ", ".join(dict.fromkeys(str(one.reason) for one in resent))
        if quiet:
            return 1
        raise ConvoqError(f"#{message} is not sent again: {why}")
    for one in resent:
        name = f"#{message}" + (f" part {one.number}" if len(resent) > 1 else "")
        if not quiet:
            say(f"{name}: {reasons.get(one.action) or f'not sent again: {one.reason}'}")
    return 0
