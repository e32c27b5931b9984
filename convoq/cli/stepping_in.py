"""`convoq conversations takeover` and what else a person of ours does in a conversation."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from convoq.cli.acting import Ways, add_force, add_identity, read_text, run_act
from convoq.cli.arguments import conversation, one_line, positive_or_zero
from convoq.cli.lookup import find_conversation
from convoq.cli.terminal.output import say
from convoq.cli.wording import add_wording, read_wording
from convoq.text import counted

if TYPE_CHECKING:
    from convoq.conversations.operators import Written
    from convoq.conversations.ownership import Change

WHICH = "its id, or a person's number: their latest one"


def add_parsers(commands: Any) -> None:
    _add_takeover(commands)
    _add_reply(commands)
    _add_note(commands)
    _add_release(commands)
    _add_leave(commands)
    _add_close(commands)
    _add_reopen(commands)


def _add_takeover(commands: Any) -> None:
    taking = commands.add_parser(
        "takeover",
        help="answer it yourself; the AI is silent at once",
        description="Takes a conversation over. When it returns, no part of an answer of the AI's goes out any more\n"
        "that had not begun to, and what the person writes waits for you. The person hears nothing of it.",
        epilog="example:\n  convoq conversations takeover 12 --as Marta",
    )
    taking.add_argument("id", type=conversation, metavar="ID", help=WHICH)
    _add_version(taking)
    add_force(taking)
    add_identity(taking)
    taking.set_defaults(run=take_over)


def _add_version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--if-version",
        type=positive_or_zero,
        metavar="N",
        help="only if its owner_version (list --json) is still N: nobody has changed who answers since",
    )


def _add_reply(commands: Any) -> None:
    replying = commands.add_parser(
        "reply",
        help="write to the person; takes the conversation over",
        description="Sends your text in a conversation, which is yours from then on, and answers what waits in it.\n"
        "When it returns, the text is on disk and will be sent. A closed conversation goes on in a new one.\n"
        "On WhatsApp text goes out within 24 hours of their last message, a template at any time.",
        epilog="examples:\n  convoq conversations reply 12 'Your table is ready.' --as Marta\n"
        "  convoq conversations reply 12 - < text.txt\n"
        "  convoq conversations reply 12 --template reopen_chat --var name=Ana",
    )
    replying.add_argument("id", type=conversation, metavar="ID", help=WHICH)
    add_wording(replying)
    add_key(replying)
    add_force(replying)
    add_identity(replying)
    replying.set_defaults(run=reply)


def add_text(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", metavar="TEXT", help="what to say, or - for standard input")


def add_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key", type=one_line, metavar="KEY", help="a name for this text: repeating it with the same one sends once"
    )


def _add_note(commands: Any) -> None:
    noting = commands.add_parser(
        "note",
        help="write something down for your colleagues",
        description="Adds a note to a conversation. It is never sent, and no answer to anything.",
        epilog="example:\n  convoq conversations note 12 'wants the invoice by post'",
    )
    noting.add_argument("id", type=conversation, metavar="ID", help=WHICH)
    add_text(noting)
    add_identity(noting)
    noting.set_defaults(run=add_note)


def _add_release(commands: Any) -> None:
    releasing = commands.add_parser(
        "release",
        help="give it back to the AI",
        description="Gives a conversation back: the AI answers again, first of all what nobody has answered.",
        epilog="example:\n  convoq conversations release 12",
    )
    releasing.add_argument("id", type=conversation, metavar="ID", help=WHICH)
    _add_version(releasing)
    add_force(releasing)
    add_identity(releasing)
    releasing.set_defaults(run=release)


def _add_leave(commands: Any) -> None:
    leaving = commands.add_parser(
        "leave",
        help="leave it to a colleague, or to nobody; the AI is silent",
        description="Leaves a conversation to whichever colleague comes: it waits for a person, and the AI is\n"
        "silent at once. With --to-nobody nobody is awaited either, say because another program answers on\n"
        "the same number: what the person writes is recorded and left to it, until you take it or release it.",
        epilog="example:\n  convoq conversations leave 12 --as Marta",
    )
    leaving.add_argument("id", type=conversation, metavar="ID", help=WHICH)
    leaving.add_argument("--to-nobody", action="store_true", help="nobody answers, and nobody is awaited")
    _add_version(leaving)
    add_force(leaving)
    add_identity(leaving)
    leaving.set_defaults(run=leave)


def _add_reopen(commands: Any) -> None:
    reopening = commands.add_parser(
        "reopen",
        help="go on with one that was closed",
        description="Opens a conversation again that was closed, with whoever had it. What was left unanswered\n"
        "stays so. Where the person went on in another conversation, this one stays closed.",
        epilog="example:\n  convoq conversations reopen 12",
    )
    reopening.add_argument("id", type=conversation, metavar="ID", help=WHICH)
    add_identity(reopening)
    reopening.set_defaults(run=reopen)


def _add_close(commands: Any) -> None:
    closing = commands.add_parser(
        "close",
        help="end it; what waits in it stays unanswered",
        description="Closes a conversation: nothing of the AI's goes out any more, and what waits stays unanswered.\n"
        "The person's next message begins another one, which the AI answers.",
        epilog="example:\n  convoq conversations close 12",
    )
    closing.add_argument("id", type=conversation, metavar="ID", help=WHICH)
    add_force(closing)
    add_identity(closing)
    closing.set_defaults(run=close)


# --- Doing


def take_over(args: argparse.Namespace) -> int:
    from convoq.monitoring.act_documents import change_document

    async def act(ways: Ways) -> Change:
        found = await find_conversation(ways.reading, args.id)
        return await ways.acts.take_over(found.id, force=args.force, version=args.if_version)

    return run_act(args, act, change_document, _tell_taken)


def _tell_taken(change: Change) -> None:
    conversation = change.conversation
    say(f"{conversation.owner_name} answers conversation {conversation.id}: the AI is silent")
    _tell_stopped(change)


def _tell_stopped(change: Change) -> None:
    if change.unsent:
        say(f"{counted(change.unsent, 'part')} of the AI's answer not sent")
    if change.under_way:
        say(f"{counted(change.under_way, 'part')} of it had begun to be sent, and may have left")


def reply(args: argparse.Namespace) -> int:
    from convoq.monitoring.act_documents import written_document

    said = read_wording(args)

    async def act(ways: Ways) -> Written:
        found = await find_conversation(ways.reading, args.id)
        return await ways.acts.reply(found.id, said, key=args.key, force=args.force)

    return run_act(args, act, written_document, tell_written)


def tell_written(written: Written) -> None:
    where = f"#{written.message_id} in conversation {written.change.conversation.id}"
    if not written.is_new:
        say(f"{where} has this key already: nothing is sent twice")
        return
    answers = f", answers {counted(written.answers, 'message')}" if written.answers else ""
    say(f"{where} is to be sent{answers}")
    _tell_stopped(written.change)


def add_note(args: argparse.Namespace) -> int:
    from convoq.monitoring.act_documents import note_document

    text = read_text(args.text)

    async def act(ways: Ways) -> tuple[int, int]:
        found = await find_conversation(ways.reading, args.id)
        return found.id, await ways.acts.note(found.id, text)

    return run_act(args, act, lambda ids: note_document(*ids), lambda ids: say(f"noted in conversation {ids[0]}"))


def release(args: argparse.Namespace) -> int:
    from convoq.monitoring.act_documents import change_document

    async def act(ways: Ways) -> Change:
        found = await find_conversation(ways.reading, args.id)
        return await ways.acts.release(found.id, force=args.force, version=args.if_version)

    def tell(change: Change) -> None:
        waits = f", first of all {counted(change.returned, 'message')} that nobody has" if change.returned else ""
        say(f"the AI answers conversation {change.conversation.id}{waits}")

    return run_act(args, act, change_document, tell)


def leave(args: argparse.Namespace) -> int:
    from convoq.monitoring.act_documents import change_document

    async def act(ways: Ways) -> Change:
        found = await find_conversation(ways.reading, args.id)
        verb = ways.acts.set_aside if args.to_nobody else ways.acts.leave
        return await verb(found.id, force=args.force, version=args.if_version)

    def tell(change: Change) -> None:
        number = change.conversation.id
        say(f"nobody answers conversation {number}" if args.to_nobody else f"conversation {number} waits for a person")
        _tell_stopped(change)

    return run_act(args, act, change_document, tell)


def reopen(args: argparse.Namespace) -> int:
    from convoq.cli.conversation_text import answered_by
    from convoq.monitoring.act_documents import change_document

    async def act(ways: Ways) -> Change:
        return await ways.acts.reopen((await find_conversation(ways.reading, args.id)).id)

    def tell(change: Change) -> None:
        conversation = change.conversation
        say(f"conversation {conversation.id} goes on, answered by {answered_by(conversation)}")

    return run_act(args, act, change_document, tell)


def close(args: argparse.Namespace) -> int:
    from convoq.monitoring.act_documents import change_document

    async def act(ways: Ways) -> Change:
        found = await find_conversation(ways.reading, args.id)
        return await ways.acts.close(found.id, force=args.force)

    def tell(change: Change) -> None:
        say(f"conversation {change.conversation.id} is closed")
        _tell_stopped(change)

    return run_act(args, act, change_document, tell)
