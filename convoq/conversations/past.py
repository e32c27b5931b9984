"""What a model is told of the time before a turn: what was said, and what happened."""

from __future__ import annotations

from typing import Final, NamedTuple

from convoq.conversations import rows
from convoq.conversations.happenings import Happening, list_happenings
from convoq.conversations.persons import read_facts
from convoq.conversations.records import Message, Turn
from convoq.db.transaction import Transaction

MOST_LINES: Final = 100  #: of a conversation, those of the turn among them
MOST_EARLIER: Final = 20  #: lines of the conversations before it
MOST_HAPPENINGS: Final = 10  #: of each sort


class Past(NamedTuple):
    """Each in order, oldest first, and only the newest."""

    said: list[Message]  #: in the turn's conversation
    happened: list[Happening]  #: in it: who answered before, and what people of ours have noted
    earlier: list[Message]  #: how the conversations before it ended
    facts: tuple[str, ...] = ()  #: what people of ours have written down of the person


def recall(tx: Transaction, turn: Turn, with_notes: bool, wall_offset: int) -> Past:
    """From one snapshot. A message that no answer could be made for may be the reason, so it is left out."""
    conversation_id = turn.conversation.id
    notes = MOST_HAPPENINGS if with_notes else 0
    return Past(
        rows.newest_settled(tx, conversation_id, turn.through, MOST_LINES - len(turn.shown)),
        list_happenings(tx, conversation_id, MOST_HAPPENINGS, notes, wall_offset),
        rows.earlier_settled(tx, conversation_id, MOST_EARLIER),
        tuple(fact.text for fact in read_facts(tx, turn.conversation.contact.id)),
    )
