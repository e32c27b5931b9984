"""What an operator texts from their own phone: the same acts as the commands', answered by one short text.

What they write is on record as the message to the customer that it is, and nowhere else.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final, NamedTuple

from convoq.conversations import acts, rows
from convoq.conversations.ownership import ActRefused, Change, thread_of
from convoq.conversations.phones import note_heard
from convoq.conversations.threads import Thread
from convoq.db.transaction import Transaction
from convoq.text import age, counted, mask_address

WAY: Final = "phone"  #: of these acts in the audit trail
MOST_LISTED: Final = 10
HELP: Final = """\
#42 text: write in conversation 42, which is yours then
#42: what was said last in it
/bot off 42: the AI is silent there
/bot on 42: the AI has it back
/list: who waits for a person"""
_NUMBER: Final = r"#?\s?(?P<id>[0-9]{1,18})"
_REPLY: Final = re.compile(r"#\s?(?P<id>[0-9]{1,18})(?:\s+(?P<text>.*))?", re.DOTALL)
_BOT: Final = re.compile(rf"/bot\s+(?P<state>on|off)\s+{_NUMBER}", re.IGNORECASE)
_LIST: Final = re.compile(r"/list", re.IGNORECASE)


class Answered(NamedTuple):
    """What a command came to."""

    text: str  #: for the operator
    shows: int | None = None  #: the conversation whose last words follow
    wakes: tuple[Thread, ...] = ()  #: in which a turn is due


def run_command(
    tx: Transaction, operator: str, text: str, our_address: str, key: str, now: int, wall_now: int
) -> Answered:
    """Does what the text says, or nothing of it. `key` makes repeating it harmless."""
    note_heard(tx, operator, our_address, wall_now)
    actor = acts.Actor(operator, WAY)
    text = text.strip()
    if (found := _REPLY.fullmatch(_folded(text))) is not None:
        number = int(found["id"])
        # The words as they were written: folding is for the command in front of them.
        words = text.partition(found["id"])[2].strip() or (found["text"] or "").strip()
        if not words:
            return _attempt(tx, lambda: _show(tx, number))
        return _attempt(tx, lambda: _reply(tx, actor, number, words, key, now, wall_now))
    if (found := _BOT.fullmatch(_folded(text))) is not None:
        number, act = int(found["id"]), _release if found["state"].lower() == "on" else _take_over
        return _attempt(tx, lambda: act(tx, actor, number, now))
    if _LIST.fullmatch(_folded(text)):
        return Answered(_list(tx, now))
    return Answered(HELP)


def _folded(text: str) -> str:
    """As phones write it: a wide number sign, spaces of all kinds."""
    return unicodedata.normalize("NFKC", text).strip()


def _attempt(tx: Transaction, act: Callable[[], Answered]) -> Answered:
    """A refusal undoes the act alone: what else the transaction holds is other people's messages."""
    tx.execute("SAVEPOINT command")
    try:
        done = act()
    except (ActRefused, LookupError) as refusal:
        tx.execute("ROLLBACK TO SAVEPOINT command")
        done = Answered(f"Not done: {refusal}.")
    tx.execute("RELEASE SAVEPOINT command")
    return done


def _reply(
    tx: Transaction, actor: acts.Actor, conversation_id: int, text: str, key: str, now: int, wall_now: int
) -> Answered:
    written = acts.reply(tx, actor, conversation_id, text, key, now, wall_now)
    conversation = written.change.conversation
    answers = f", answers {counted(written.answers, 'message')}" if written.answers else ""
    return Answered(
        f"#{conversation.id}: on its way{answers}. It is yours; the AI is silent there.", wakes=_due(tx, written.change)
    )


def _take_over(tx: Transaction, actor: acts.Actor, conversation_id: int, now: int) -> Answered:
    change = acts.take_over(tx, actor, conversation_id, now)
    left = f" {counted(change.under_way, 'part')} of its answer may have left." if change.under_way else ""
    return Answered(f"#{conversation_id}: it is yours; the AI is silent there.{left}")


def _release(tx: Transaction, actor: acts.Actor, conversation_id: int, now: int) -> Answered:
    change = acts.release(tx, actor, conversation_id, now)
    answers = f" and answers {counted(change.returned, 'message')}" if change.returned else ""
    return Answered(f"#{conversation_id}: the AI has it back{answers}.", wakes=_due(tx, change))


def _due(tx: Transaction, change: Change) -> tuple[Thread, ...]:
    conversation = change.conversation
    is_due = rows.is_unsettled(tx, conversation.thread_id)
    return (thread_of(conversation)._replace(failing=True),) if is_due else ()


def _show(tx: Transaction, conversation_id: int) -> Answered:
    conversation = rows.conversation(tx, conversation_id)
    who = conversation.owner_name if conversation.owner == "human" else conversation.owner
    status = "" if conversation.status == "active" else f", {conversation.status}"
    return Answered(f"#{conversation_id} {mask_address(conversation.contact.address)}, {who}{status}", conversation_id)


def _list(tx: Transaction, now: int) -> str:
    found = tx.execute(WAITING, (MOST_LISTED + 1,)).fetchall()
    if not found:
        return "Nobody waits for a person."
    lines = [
        f"#{number} {mask_address(address)}, {age((now - since) / 1000)}: {reason}"
        for number, address, since, reason in found[:MOST_LISTED]
    ]
    return "\n".join([*lines, *(["and more"] if len(found) > MOST_LISTED else [])])


WAITING: Final = """
    SELECT c.id, p.address, coalesce(c.owner_at, c.opened_at), coalesce(c.handed_reason, 'other')
    FROM conversations AS c JOIN threads AS t ON t.id = c.thread_id JOIN contacts AS p ON p.id = t.contact_id
    WHERE c.status IN ('active', 'idle') AND c.owner = 'waiting' ORDER BY c.owner_at LIMIT ?
"""
