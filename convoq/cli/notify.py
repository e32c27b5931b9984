"""`convoq notify`: the webhook and the mailbox that are told when something calls for a person."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from convoq.cli.terminal.output import print_json
from convoq.errors import ConvoqError

if TYPE_CHECKING:
    from convoq.settings import Options

Result = tuple[str, str, bool, str]  #: which target, where it is, whether it took it, what it said


def add_parser(subparsers: Any) -> None:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "notify",
        help="test who is told when something calls for a person",
        description="The webhook and the mailbox of [notify]. `convoq status` names one that takes nothing.",
        epilog="example:\n  convoq notify test",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    testing = commands.add_parser(
        "test",
        help="send a test event, and say what was answered",
        description="Sends one event of the type convoq.test to each target, at once and not through the queue. Ends\n"
        "with 1 when one did not take it. One that was switched off, because it had said that it is gone,\n"
        "is told again from then on.",
        epilog="example:\n  convoq notify test --json",
    )
    testing.add_argument("--json", action="store_true", help="for programs")
    testing.set_defaults(run=test)
    making = commands.add_parser(
        "secret",
        help="make a secret to sign with",
        description="Prints a new secret for notify.secret; the endpoint needs the same one. Nothing is changed.",
        epilog="example:\n  convoq notify secret",
    )
    making.set_defaults(run=secret)


def secret(_: argparse.Namespace) -> int:
    from convoq.notify.signing import new_secret

    print(new_secret())
    return 0


def test(args: argparse.Namespace) -> int:
    from convoq.cli.session import load_settings, run_async

    options = load_settings(args.config).options
    if options.notify.url is None and options.notify.smtp_url is None:
        raise ConvoqError("nobody is to be told: set notify.url or notify.smtp_url")
    results, back = run_async(_test_all(options))
    if args.json:
        keys = ("target", "where", "taken", "answer")
        print_json({"targets": [dict(zip(keys, result, strict=True)) for result in results], "switched_on": back})
    else:
        for name, where, is_taken, answer in results:
            print(f"{name}: {where} took it: {answer}" if is_taken else f"{name}: {answer}")
        for name in back:
            print(f"{name}: it had been switched off, and is told again")
    return 0 if all(is_taken for _, _, is_taken, _ in results) else 1


async def _test_all(options: Options) -> tuple[list[Result], list[str]]:
    """What each target said, and which are told again from now on."""
    import secrets

    from convoq.clock import WallClock
    from convoq.conversations.notifications import Notification
    from convoq.notify.base import TargetFailed
    from convoq.notify.documents import TEST
    from convoq.notify.opening import open_targets

    results: list[Result] = []
    async with open_targets(options.notify) as targets:
        for target in targets.values():
            event = Notification(0, f"msg_{secrets.token_hex(12)}", TEST, WallClock().now(), 0, {}, None)
            try:
                taken = await target.send(event)
            except TargetFailed as error:
                results.append((target.name, target.where, False, str(error)))
            else:
                results.append((target.name, target.where, True, taken.answer))
    return results, await _switch_on(options, [name for name, _, is_taken, _ in results if is_taken])


async def _switch_on(options: Options, names: list[str]) -> list[str]:
    """Those that had been switched off."""
    from convoq.cli.session import open_existing
    from convoq.clock import WallClock
    from convoq.conversations.notifications import Notifications

    try:
        async with open_existing(options) as database:
            told = Notifications(database, WallClock())
            return [name for name in names if await told.switch_on(name)]
    except ConvoqError:
        return []  # there is no database yet, or not for this user: what was tested was tested all the same
