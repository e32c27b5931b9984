"""What is new in the conversations since one last looked. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from convoq.conversations import rows
from convoq.conversations.records import Conversation
from convoq.db.transaction import Transaction

MOST_CHANGES: Final = 500  #: of each sort; who has missed more reads everything anew
WATCHED_PARTS: Final = 200  #: the newest: those whose state may still change


class Place(NamedTuple):
    """How far one has looked: the newest of each. On SQLite ids grow in the order of the commits."""

    message: int
    transition: int
    note: int


class NewMessage(NamedTuple):
    id: int
    conversation_id: int
    direction: str
    author: str


class PartState(NamedTuple):
    """Of one part of ours on its way."""

    message_id: int
    conversation_id: int
    state: str
    delivery: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    place: Place  #: from which to look on
    messages: tuple[NewMessage, ...]
    conversations: tuple[Conversation, ...]  #: as they are now
    parts: Mapping[int, PartState]  #: the newest, all of them
    too_many: bool  #: it is not all that there was


def read_place(tx: Transaction) -> Place:
    return Place(*tx.execute(NEWEST).fetchone())


def read_changes(tx: Transaction, since: Place) -> Changes:
    messages = [NewMessage(*row) for row in tx.execute(MESSAGES, (since.message, MOST_CHANGES + 1)).fetchall()]
    changed = tx.execute(TRANSITIONS, (since.transition, MOST_CHANGES + 1)).fetchall()
    noted = tx.execute(NOTES, (since.note, MOST_CHANGES + 1)).fetchall()
    touched = dict.fromkeys([*(one.conversation_id for one in messages), *(row[1] for row in (*changed, *noted))])
    too_many = max(len(messages), len(changed), len(noted)) > MOST_CHANGES
    return Changes(
        place=read_place(tx),
        messages=tuple(messages),
        conversations=() if too_many else tuple(rows.conversation(tx, one) for one in touched),
        parts={row[0]: PartState(*row[1:]) for row in tx.execute(PARTS, (WATCHED_PARTS,)).fetchall()},
        too_many=too_many,
    )


NEWEST: Final = """
    SELECT coalesce((SELECT max(id) FROM messages), 0), coalesce((SELECT max(id) FROM transitions), 0),
        coalesce((SELECT max(id) FROM operator_notes), 0)
"""
MESSAGES: Final = "SELECT id, conversation_id, direction, author FROM messages WHERE id > ? ORDER BY id LIMIT ?"
TRANSITIONS: Final = "SELECT id, conversation_id FROM transitions WHERE id > ? ORDER BY id LIMIT ?"
NOTES: Final = "SELECT id, conversation_id FROM operator_notes WHERE id > ? ORDER BY id LIMIT ?"
PARTS: Final = "SELECT id, message_id, conversation_id, state, delivery FROM outbox ORDER BY id DESC LIMIT ?"
