"""What becomes of messages outside the business hours: an answer all the same, a message taken, or a sentence."""

from __future__ import annotations

import enum
import secrets
from collections.abc import Sequence
from typing import Final, NamedTuple

from convoq.conversations import rows
from convoq.conversations.handing_over import HandoverRules, Told, hand_over
from convoq.conversations.outbox import add_outgoing
from convoq.conversations.records import Conversation, Handover, Message
from convoq.conversations.states import HandedReason, Outcome
from convoq.conversations.stopping import conclude_waiting
from convoq.db.transaction import Transaction
from convoq.hours import OpeningHours


class OutOfHours(enum.StrEnum):
    """What happens at a number then."""

    ANSWER = "answer"  #: as at any time
    MESSAGE = "message"  #: the customer is told so, and the AI answers when the desk opens again
    SENTENCE = "sentence"  #: the customer is told so, and that is all


class Desk(NamedTuple):
    """When the desk of one of our addresses is open."""

    hours: OpeningHours
    out_of_hours: OutOfHours


def close_desk(
    tx: Transaction,
    conversation: Conversation,
    waiting: Sequence[Message],
    rules: HandoverRules,
    now: int,
    wall_now: int,
) -> Outcome | None:
    """What becomes of what waits, while the desk is closed. None: it is answered, as what operators gave back is."""
    desk = rules.desk_of(conversation.our_address)
    if desk is None or any(message.returned for message in waiting):
        return None
    if desk.out_of_hours is OutOfHours.ANSWER or desk.hours.is_open(wall_now):
        return None
    if desk.out_of_hours is OutOfHours.MESSAGE:
        hand_over(tx, conversation, Handover(HandedReason.CLOSED), rules, now, wall_now, who="system")
        return Outcome.HUMAN
    conclude_waiting(tx, conversation.thread_id, Outcome.NO_REPLY, "outside the hours of the number")
    text = rules.sentences.text(Told.CLOSED, conversation.our_address)
    if text and not _is_told(tx, conversation, desk.hours.closed_since(wall_now)):
        source = f"{SOURCE}{secrets.token_hex(8)}"
        add_outgoing(tx, conversation.thread_id, conversation.id, "ai", source, text, [text], now, wall_now)
    return Outcome.NO_REPLY


def _is_told(tx: Transaction, conversation: Conversation, since: int) -> bool:
    found = tx.execute(TOLD, (conversation.id, since, f"{SOURCE}%")).fetchone()
    return found is not None


SOURCE: Final = f"{rows.NOTICE}{Told.CLOSED}:"
TOLD: Final = "SELECT 1 FROM messages WHERE conversation_id = ? AND wall_at >= ? AND source LIKE ? LIMIT 1"
