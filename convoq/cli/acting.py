"""What a person of ours does by command: in whose name, and what is said of it."""

from __future__ import annotations

import argparse
import os
import pwd
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from convoq.cli.arguments import one_line
from convoq.cli.terminal.output import UsageError, print_json
from convoq.errors import ConvoqError

if TYPE_CHECKING:
    from convoq.conversations.acts import Acts
    from convoq.conversations.queries import Reading
    from convoq.db.store import Store
    from convoq.queue.base import JobAdmin
    from convoq.settings import Options

T = TypeVar("T")

MOST_BYTES: Final = 1 << 20  # of standard input: far more than a message may have
#: What can be done about a refusal, where its reason does not say so.
REMEDIES: Final = {
    "not_owner": "with --force it is yours",
    "stale": "look again: convoq conversations show",
    "window": "the person's next message opens it for 24 hours",
}


class Ways(NamedTuple):
    """What an act is done with."""

    acts: Acts
    reading: Reading
    options: Options
    database: Store
    jobs: JobAdmin


def add_identity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--as", dest="name", type=one_line, metavar="NAME", help="who you are (default: your login)")
    parser.add_argument("--json", action="store_true", help="for programs")


def add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="also where a colleague has the conversation")


def run_act(
    args: argparse.Namespace, act: Callable[[Ways], Awaitable[T]], document: Callable[[T], Mapping[str, Any]],
    tell: Callable[[T], None], *, listed: bool = True,
) -> int:  # fmt: skip
    """Does it, and says what came of it. `listed`: only in the name of an operator, once there are any."""
    from convoq.cli.session import load_settings, open_follow_ups, run_async
    from convoq.clock import WallClock
    from convoq.conversations.acts import Acts
    from convoq.conversations.queries import Reading
    from convoq.handlers.receive import enqueue_turns

    async def main(options: Options) -> T:
        async with open_follow_ups(options) as (database, queue):
            follow_ups = queue.follow_ups()
            name = await acting_name(database, args.name, listed=listed)
            acts = Acts(database, WallClock(), name, partial(enqueue_turns, follow_ups))
            done = await act(Ways(acts, Reading(database), options, database, queue.jobs))
            await follow_ups.send()
            return done

    done = _explained(lambda: run_async(main(load_settings(args.config).options)), as_json=args.json)
    if args.json:
        print_json(document(done))
    else:
        tell(done)
    return 0


def _explained(work: Callable[[], T], *, as_json: bool) -> T:
    """Raises ConvoqError with what can be done about a refusal; with `as_json` programs are told as well."""
    from convoq.conversations.ownership import ActRefused
    from convoq.monitoring.act_documents import refusal_document

    try:
        return work()
    except ActRefused as refused:
        if as_json:
            print_json(refusal_document(refused))
        remedy = REMEDIES.get(refused.code)
        raise ConvoqError(f"{refused}: {remedy}" if remedy else str(refused)) from refused
    except LookupError as error:
        raise ConvoqError(str(error)) from error


async def acting_name(database: Store, given: str | None, *, listed: bool) -> str:
    """The name to act under, as it is written in the list of operators. Raises ConvoqError."""
    from convoq.conversations.operator_list import OperatorList, find_operator
    from convoq.conversations.operators import operator_name

    name = operator_name(_login() if given is None else given)
    operators = await OperatorList(database).all()
    known = find_operator(operators, name)
    if known is not None:
        return known.name
    active = [one.name for one in operators if one.removed_at is None]
    if given is None and listed and active:
        raise UsageError(f"say who you are, with --as: {', '.join(active)}")
    return name


def _login() -> str:
    """The login that runs the command, also through sudo."""
    if through_sudo := os.environ.get("SUDO_USER"):
        return through_sudo
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def read_text(given: str) -> str:
    """The text of the argument, or on standard input for "-". Raises UsageError."""
    content = sys.stdin.buffer.read(MOST_BYTES) if given == "-" else os.fsencode(given)
    place = "standard input" if given == "-" else "the text"
    try:
        return content.decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{place}: not UTF-8 text (byte {error.start + 1})") from error
