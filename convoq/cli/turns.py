"""`convoq conversations turn`: what happened between a message and its answer."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from convoq.cli.arguments import message_id
from convoq.cli.terminal.output import print_json
from convoq.cli.terminal.table import print_table
from convoq.errors import ConvoqError
from convoq.text import counted, harmless

if TYPE_CHECKING:
    from convoq.conversations.tracing import TurnTrace
    from convoq.settings import Options


def add_parser(commands: Any) -> None:
    turning = commands.add_parser(
        "turn",
        help="what happened between a message and its answer",
        description="Shows one turn, step by step: when each message was accepted, what models were asked and how\n"
        "long that took, which drafts were given up, when each part was sent, and what it cost.",
        epilog="example:\n  convoq conversations turn 41",
    )
    turning.add_argument("id", type=message_id, metavar="MESSAGE", help="a message that was answered, or the answer")
    turning.add_argument("--json", action="store_true", help="for programs")
    turning.set_defaults(run=show_turn)


def show_turn(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_existing, run_async
    from convoq.conversations.tracing import read_turn
    from convoq.monitoring.turn_documents import turn_document

    async def main(options: Options) -> int:
        async with open_existing(options) as database:
            trace = await database.read(read_turn, args.id)
        if trace is None:
            raise ConvoqError(f"there is no message {args.id}")
        if args.json:
            print_json(turn_document(trace))
        else:
            _print(trace)
        return 0

    return run_async(main(load_settings(args.config).options))


def _print(trace: TurnTrace) -> None:
    from convoq.monitoring.turn_documents import answered_in, steps_of

    asked, took = counted(len(trace.asked), "message"), answered_in(trace)
    fate = "not answered yet" if trace.reply is None else f"#{trace.reply.message.id} answers {asked}"
    within = f" in {took:.1f} s" if took is not None else ""
    print(f"Conversation {trace.conversation.id}: {fate}{within}")
    steps = steps_of(trace)
    rows = [
        (
            f"+{(step.at - steps[0].at) / 1000:.1f} s", step.what.replace("_", " "),
            "" if step.lasted is None else f"{step.lasted / 1000:.1f} s",
            harmless(step.detail or ("" if step.message_id is None else f"#{step.message_id}")),
        )
        for step in steps
    ]  # fmt: skip
    print_table(("AFTER", "WHAT", "TOOK", "DETAIL"), rows, right=("AFTER", "TOOK"))
    if trace.calls:
        print(_cost(trace))


def _cost(trace: TurnTrace) -> str:
    calls = trace.calls
    known = sum(call.cost or 0 for call in calls)
    money = f", {known / 1_000_000:.4f} {next((one.currency for one in calls if one.currency), '')}".rstrip()
    unpriced = sum(call.cost is None for call in calls)
    tokens = f"{sum(one.input_tokens for one in calls):,} tokens in, {sum(one.output_tokens for one in calls):,} out"
    unknown = f" and what {counted(unpriced, 'request')} cost, which is not known" if unpriced else ""
    return f"{counted(len(calls), 'request')} to models: {tokens}{money if known or not unpriced else ''}{unknown}"
