"""Reads rows into records, inside whatever transaction the caller has open."""

from __future__ import annotations

from typing import Any

from convoq.conversations.records import Contact, Conversation, Message, OutboxRow
from convoq.conversations.states import CloseReason, Outcome, Owner, Status
from convoq.db.transaction import Transaction

CONVERSATION = """
    SELECT c.id, c.our_address, c.lane, c.owner, c.status, c.closed_reason, c.opened_at, c.last_message_at,
           c.last_inbound_at, c.closed_at, p.id, p.channel, p.address, p.name, p.opted_out_at, p.blocked_at
    FROM conversations AS c JOIN contacts AS p ON p.id = c.contact_id
"""
MESSAGE = """
    SELECT m.id, m.direction, m.author, m.body, m.description, m.at, m.outcome, m.answered_by, m.job_id
    FROM messages AS m
"""
OUTBOX = """
    SELECT o.id, o.reference, o.conversation_id, o.message_id, o.part, o.body, o.state, o.attempts, o.attempted_at,
           o.settled_at, o.provider_id, o.error_code, o.error, o.delivery, o.delivery_at, m.author, m.at, p.address,
           c.our_address
    FROM outbox AS o JOIN messages AS m ON m.id = o.message_id
    JOIN conversations AS c ON c.id = o.conversation_id JOIN contacts AS p ON p.id = c.contact_id
"""


def conversation(tx: Transaction, conversation_id: int) -> Conversation:
    """Raises LookupError when there is none of that id."""
    row = tx.execute(f"{CONVERSATION} WHERE c.id = ?", (conversation_id,)).fetchone()
    if row is None:
        raise LookupError(f"there is no conversation {conversation_id}")
    return to_conversation(row)


def messages(tx: Transaction, conversation_id: int, condition: str) -> list[Message]:
    found = tx.execute(f"{MESSAGE} WHERE m.conversation_id = ? AND {condition} ORDER BY m.id", (conversation_id,))
    return [to_message(row) for row in found]


def newest_settled(tx: Transaction, conversation_id: int, through: int, limit: int) -> list[Message]:
    """The newest `limit` messages of ours, those that got an answer, and up to one those that got none on purpose."""
    found = tx.execute(
        f"""{MESSAGE} WHERE m.conversation_id = ?
            AND (m.direction = 'out' OR m.outcome = 'answered'
                 OR (m.id <= ? AND m.outcome NOT IN ('failed', 'cancelled')))
            ORDER BY m.id DESC LIMIT ?""",
        (conversation_id, through, limit),
    ).fetchall()
    return [to_message(row) for row in reversed(found)]


def to_conversation(row: tuple[Any, ...]) -> Conversation:
    contact = Contact(
        id=row[10], channel=row[11], address=row[12], name=row[13], opted_out_at=row[14], blocked_at=row[15]
    )
    return Conversation(
        id=row[0], our_address=row[1], lane=row[2], owner=Owner(row[3]), status=Status(row[4]),
        closed_reason=CloseReason(row[5]) if row[5] else None, opened_at=row[6], last_message_at=row[7],
        last_inbound_at=row[8], closed_at=row[9], contact=contact,
    )  # fmt: skip


def to_message(row: tuple[Any, ...]) -> Message:
    return Message(
        id=row[0], direction=row[1], author=row[2], body=row[3], description=row[4], at=row[5],
        outcome=Outcome(row[6]) if row[6] else None, answered_by=row[7], job_id=row[8],
    )  # fmt: skip


def to_outbox_row(row: tuple[Any, ...]) -> OutboxRow:
    names = OutboxRow.__slots__
    return OutboxRow(**dict(zip(names, row, strict=True)))
