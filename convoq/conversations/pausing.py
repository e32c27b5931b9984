"""Where the AI says nothing for a while: in one chat, at one of our numbers, or anywhere. Who writes there is told that
a person of ours answers."""

from __future__ import annotations

from typing import Final, NamedTuple

from convoq.conversations import rows
from convoq.conversations.alarms import loop_cause, raise_alarm, resolve
from convoq.conversations.handing_over import HandoverRules, hand_over
from convoq.conversations.loops import WHO, forget_replies
from convoq.conversations.ownership import ActRefused, give_back, thread_of
from convoq.conversations.records import Conversation, Handover
from convoq.conversations.states import HandedReason
from convoq.conversations.threads import Thread
from convoq.db.transaction import Transaction
from convoq.settings.notify import Event
from convoq.text import local_time

EVERYWHERE: Final = "all"
_THREAD: Final = "thread:"


class AiPause(NamedTuple):
    """Where, since when, by whom."""

    scope: str
    paused_at: int
    who: str
    reason: str | None


def number_scope(our_address: str) -> str:
    return f"number:{our_address}"


def thread_scope(thread_id: int) -> str:
    return f"{_THREAD}{thread_id}"


def pause(tx: Transaction, scope: str, name: str, now: int, reason: str | None = None) -> None:
    """From its commit on no answer is committed there, and no part of one begins to be sent. Raises ActRefused."""
    known = find_pause(tx, scope)
    if known is not None:
        raise ActRefused("unchanged", f"it is paused already, by {known.who} since {local_time(known.paused_at)}")
    tx.execute("INSERT INTO ai_pauses (scope, paused_at, who, reason) VALUES (?, ?, ?, ?)", (scope, now, name, reason))


def resume(tx: Transaction, scope: str, name: str, now: int) -> None:
    """Who was handed over for it comes back with return_paused(). Raises ActRefused where it is not paused."""
    if tx.execute("DELETE FROM ai_pauses WHERE scope = ?", (scope,)).rowcount == 0:
        raise ActRefused("unchanged", "it is not paused")
    if scope.startswith(_THREAD):
        thread_id = int(scope.removeprefix(_THREAD))
        forget_replies(tx, thread_id)
        resolve(tx, loop_cause(thread_id), now, {"by": name})


def pause_loop(
    tx: Transaction, conversation: Conversation, why: str, rules: HandoverRules, now: int, wall_now: int
) -> None:
    """A machine writes there: what it writes is on record, and gets no answer until a person of ours has looked."""
    pause(tx, thread_scope(conversation.thread_id), WHO, now, why)
    cause = loop_cause(conversation.thread_id)
    raise_alarm(tx, Event.LOOP_PAUSED, cause, now, {"reason": why}, conversation_id=conversation.id)
    hand_over(tx, conversation, Handover(HandedReason.PAUSED, why), rules, now, wall_now, who=WHO)


def find_pause(tx: Transaction, scope: str) -> AiPause | None:
    found = tx.execute("SELECT scope, paused_at, who, reason FROM ai_pauses WHERE scope = ?", (scope,)).fetchone()
    return None if found is None else AiPause(*found)


def list_pauses(tx: Transaction) -> list[AiPause]:
    """The oldest first."""
    found = tx.execute("SELECT scope, paused_at, who, reason FROM ai_pauses ORDER BY paused_at, scope")
    return [AiPause(*row) for row in found]


def return_paused(tx: Transaction, who: str, now: int, limit: int) -> list[Thread]:
    """At most `limit` chats that wait for a person only because of a pause that is over; the AI has them back."""
    returned = []
    for conversation_id in find_paused_no_more(tx, limit):
        conversation = rows.conversation(tx, conversation_id)
        give_back(tx, conversation, who=who, why="the AI is not paused any more", now=now)
        returned.append(thread_of(conversation))
    return returned


def find_paused_no_more(tx: Transaction, limit: int) -> list[int]:
    """Conversations, the oldest first."""
    return [conversation_id for (conversation_id,) in tx.execute(PAUSED_NO_MORE, (HandedReason.PAUSED, limit))]


PAUSED_NO_MORE: Final = """
    SELECT c.id FROM conversations AS c JOIN threads AS t ON t.id = c.thread_id
    WHERE c.owner = 'waiting' AND c.status IN ('active', 'idle') AND c.handed_reason = ?
        AND NOT EXISTS (SELECT 1 FROM ai_pauses AS q
                        WHERE q.scope IN ('all', 'number:' || t.our_address, 'thread:' || t.id))
    ORDER BY c.id LIMIT ?
"""
