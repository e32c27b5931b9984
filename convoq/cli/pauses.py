"""`convoq conversations pause`, `resume` and `pauses`: where the AI says nothing for a while."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from convoq.cli.acting import Ways, add_identity, run_act
from convoq.cli.arguments import conversation, one_line
from convoq.cli.lookup import find_conversation
from convoq.cli.stepping_in import WHICH
from convoq.cli.terminal.output import UsageError, print_json, say
from convoq.cli.terminal.table import print_table
from convoq.text import counted, local_time, masked

if TYPE_CHECKING:
    from convoq.settings import Options


def add_parsers(commands: Any) -> None:
    _add_pause(commands)
    _add_resume(commands)
    _add_list(commands)


def _add_pause(commands: Any) -> None:
    pausing = commands.add_parser(
        "pause",
        help="let the AI say nothing: there, at a number, or anywhere",
        description="Pauses the AI. Whoever writes there waits for a person of yours, and is told so once, if\n"
        "notices.paused says what. What people of yours write is sent all the same.",
        epilog="examples:\n  convoq conversations pause 12\n"
        "  convoq conversations pause --all --reason 'new prices are not in the prompt yet'",
    )
    _add_scope(pausing)
    pausing.add_argument("--reason", type=one_line, metavar="TEXT", help="for your colleagues")
    add_identity(pausing)
    pausing.set_defaults(run=pause)


def _add_resume(commands: Any) -> None:
    resuming = commands.add_parser(
        "resume",
        help="let a paused AI answer again",
        description="Ends a pause. Who waits for a person only because of it is answered by the AI.",
        epilog="example:\n  convoq conversations resume --number whatsapp:+14155238886",
    )
    _add_scope(resuming)
    add_identity(resuming)
    resuming.set_defaults(run=resume)


def _add_list(commands: Any) -> None:
    listing = commands.add_parser(
        "pauses",
        help="where the AI is paused",
        description="Lists the pauses of the AI, the oldest first.",
        epilog="example:\n  convoq conversations pauses --json",
    )
    listing.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(run=list_all)


def _add_scope(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", nargs="?", type=conversation, metavar="ID", help=f"one conversation: {WHICH}")
    parser.add_argument("--number", metavar="ADDRESS", help="all that goes over this number of yours")
    parser.add_argument("--all", action="store_true", help="everywhere")


async def _scope(ways: Ways, args: argparse.Namespace) -> str:
    from convoq.conversations.pausing import EVERYWHERE, number_scope, thread_scope
    from convoq.operating.numbers import our_addresses, pick_address

    if args.id is not None:
        return thread_scope((await find_conversation(ways.reading, args.id)).thread_id)
    if args.number is not None:
        return number_scope(pick_address(args.number, await our_addresses(ways.reading, ways.options)))
    return EVERYWHERE


def _require_one(args: argparse.Namespace) -> None:
    if [args.id is not None, args.number is not None, args.all].count(True) != 1:
        raise UsageError("say where: the id of a conversation, --number ADDRESS, or --all")


def pause(args: argparse.Namespace) -> int:
    _require_one(args)

    async def act(ways: Ways) -> str:
        scope = await _scope(ways, args)
        await ways.acts.pause(scope, args.reason)
        return scope

    return run_act(args, act, lambda scope: {"scope": scope}, lambda scope: say(f"the AI is paused: {_named(scope)}"))


def resume(args: argparse.Namespace) -> int:
    _require_one(args)

    async def act(ways: Ways) -> tuple[str, int]:
        scope = await _scope(ways, args)
        return scope, await ways.acts.resume(scope)

    def tell(done: tuple[str, int]) -> None:
        scope, returned = done
        say(f"the AI answers again: {_named(scope)}; {counted(returned, 'conversation')} waited for it")

    return run_act(args, act, lambda done: {"scope": done[0], "returned_conversations": done[1]}, tell)


def list_all(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, open_existing, run_async
    from convoq.conversations.pausing import list_pauses
    from convoq.monitoring.act_documents import pauses_document

    async def main(options: Options) -> int:
        async with open_existing(options) as database:
            pauses = await database.read(list_pauses)
        if args.json:
            print_json({"pauses": pauses_document(pauses)})
        elif not pauses:
            say("The AI is paused nowhere.")
        else:
            rows = [(_named(one.scope), local_time(one.paused_at), one.who, one.reason or "") for one in pauses]
            print_table(("WHERE", "SINCE", "WHO", "REASON"), rows, ends=("WHERE",), whole=("SINCE",))
        return 0

    return run_async(main(load_settings(args.config).options))


def _named(scope: str) -> str:
    """In words; a thread has no number that people know."""
    kind, _, which = scope.partition(":")
    return {"all": "everywhere", "thread": f"thread {which}"}.get(kind, masked(which))
