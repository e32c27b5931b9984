"""Reads rows into records, inside whatever transaction the caller has open."""

from __future__ import annotations

from typing import Any

from convoq.conversations.records import Contact, Conversation, Message, OutboxRow
from convoq.conversations.states import DEAD_ENDS, CloseReason, Outcome, Owner, Status
from convoq.db.transaction import Transaction

NOTICE = "notice:"  #: what the source of each sentence begins with that breaks a silence
HANDOVER = "handover:"  #: the same of each that tells of a person of ours
MUTED = "muted:"  #: the same of each answer that never left, because a person of ours had taken over
OPT_OUT = "opt_out:"  #: the same of each that confirms an opt-out; that of the message that it confirms follows

CONVERSATION = """
    SELECT c.id, c.thread_id, t.our_address, t.lane, c.owner, c.status, c.closed_reason, c.opened_at,
           c.last_message_at, t.last_inbound_at, c.closed_at,
           p.id, p.channel, p.address, p.name, p.opted_out_at, p.blocked_at,
           c.owner_name, c.owner_at, c.owner_version, c.owner_acted_at, c.handed_reason, c.told_at,
           EXISTS (SELECT 1 FROM ai_pauses AS q
                   WHERE q.scope IN ('all', 'number:' || t.our_address, 'thread:' || t.id)),
           t.last_inbound_wall
    FROM conversations AS c JOIN threads AS t ON t.id = c.thread_id JOIN contacts AS p ON p.id = t.contact_id
"""
CONTACT = "SELECT id, channel, address, name, opted_out_at, blocked_at FROM contacts"
MESSAGE_COLUMNS = """
    m.id, m.direction, m.author, m.body, m.description, m.at, m.wall_at, m.outcome, m.reason, m.answered_by, m.job_id,
    m.tries, m.failures, m.retry_at, m.ended_by, m.requests, m.output_tokens, m.written_by, m.returned
"""
MESSAGE = f"SELECT {MESSAGE_COLUMNS} FROM messages AS m"
OUTBOX = f"""
    SELECT o.id, o.reference, o.thread_id, o.conversation_id, o.message_id, o.part, o.body, o.state, o.revoked,
           o.attempts, o.attempted_at, o.attempted_wall, o.settled_at, o.provider_id, o.error_code, o.error,
           o.delivery, o.delivery_at, o.arrived, o.resend_of, m.author,
           m.source LIKE '{OPT_OUT}%', m.source LIKE '{HANDOVER}%', m.at, p.channel, p.address, t.our_address,
           o.template_sid, o.template_variables
    FROM outbox AS o JOIN messages AS m ON m.id = o.message_id
    JOIN threads AS t ON t.id = o.thread_id JOIN contacts AS p ON p.id = t.contact_id
"""
# In the words of their indexes.
FOR_PERSON = "outcome = 'human' AND answered_by IS NULL"  # what a person of ours is to answer
WAITS = "m.direction = 'in' AND m.outcome IS NULL"
SHOWN = """m.direction = 'out'
    OR (m.outcome <> 'failed' AND m.outcome <> 'cancelled' AND m.outcome <> 'opted_out' AND m.outcome <> 'blocked')"""
PENDS = "o.state IN ('ready', 'sending', 'ambiguous')"
UNDELIVERED = f"""o.delivery IN {DEAD_ENDS} AND o.arrived = 0
    AND NOT EXISTS (SELECT 1 FROM outbox AS r WHERE r.resend_of = o.id)"""
TO_BE_SENT_AGAIN = "it is sent again once, after a pause"  #: the error of a part, during that pause
MOST_EARLIER = 5  #: conversations that are looked into: some hold nothing but a START
_EVERY_MESSAGE = 2**63 - 1


def conversation(tx: Transaction, conversation_id: int) -> Conversation:
    """Raises LookupError when there is none of that id."""
    row = tx.execute(f"{CONVERSATION} WHERE c.id = ?", (conversation_id,)).fetchone()
    if row is None:
        raise LookupError(f"there is no conversation {conversation_id}")
    return to_conversation(row)


def conversation_of_message(tx: Transaction, message_id: int) -> Conversation:
    found = "SELECT conversation_id FROM messages WHERE id = ?"
    return to_conversation(tx.execute(f"{CONVERSATION} WHERE c.id = ({found})", (message_id,)).fetchone())


def contact(tx: Transaction, contact_id: int) -> Contact:
    found = tx.execute(f"{CONTACT} WHERE id = ?", (contact_id,)).fetchone()
    return Contact(**dict(zip(Contact.__slots__, found, strict=True)))


def waiting(tx: Transaction, thread_id: int, condition: str, limit: int, *, order: str = "m.id") -> list[Message]:
    """The first messages of the thread that wait."""
    found = tx.execute(
        f"{MESSAGE} WHERE m.thread_id = ? AND {WAITS} AND {condition} ORDER BY {order} LIMIT ?",
        (thread_id, limit),
    )
    return [to_message(row) for row in found]


def waits(tx: Transaction, thread_id: int) -> bool:
    return (
        tx.execute(f"SELECT 1 FROM messages AS m WHERE m.thread_id = ? AND {WAITS}", (thread_id,)).fetchone()
        is not None
    )


def pends(tx: Transaction, thread_id: int) -> bool:
    return (
        tx.execute(f"SELECT 1 FROM outbox AS o WHERE o.thread_id = ? AND {PENDS}", (thread_id,)).fetchone() is not None
    )


def is_unsettled(tx: Transaction, thread_id: int) -> bool:
    """Whether a turn of the thread has something to do."""
    return waits(tx, thread_id) or pends(tx, thread_id)


def newest_settled(tx: Transaction, conversation_id: int, through: int, limit: int) -> list[Message]:
    """The newest `limit` messages of ours, those that got an answer, and up to one those that got none on purpose.

    Not what was written while nothing might be said to the person, no announcement of ours that never went out, and no
    sentence that stood in for an answer: a model would go on apologising.
    """
    found = tx.execute(
        f"""{MESSAGE} WHERE m.conversation_id = ? AND ({SHOWN})
            AND (m.id <= ? OR m.direction = 'out' OR m.outcome = 'answered')
            AND (m.direction = 'in' OR m.author = 'ai' OR EXISTS (SELECT 1 FROM outbox AS o WHERE o.message_id = m.id
                                                                  AND o.state <> 'failed' AND o.state <> 'cancelled'))
            AND m.source NOT LIKE '{NOTICE}%' AND m.source NOT LIKE '{OPT_OUT}%'
            AND m.source NOT LIKE '{HANDOVER}%' AND m.source NOT LIKE '{MUTED}%' AND m.source NOT LIKE 'erased:%'
            ORDER BY m.id DESC LIMIT ?""",
        (conversation_id, through, limit),
    ).fetchall()
    return [to_message(row) for row in reversed(found)]


def earlier_settled(tx: Transaction, conversation_id: int, limit: int) -> list[Message]:
    """The newest `limit` messages, as newest_settled() has them, of the conversations before this one."""
    found: list[Message] = []
    for _ in range(MOST_EARLIER):
        (previous,) = tx.execute("SELECT previous_id FROM conversations WHERE id = ?", (conversation_id,)).fetchone()
        if previous is None or len(found) == limit:
            break
        conversation_id = int(previous)
        found = newest_settled(tx, conversation_id, _EVERY_MESSAGE, limit - len(found)) + found
    return found


def to_conversation(row: tuple[Any, ...]) -> Conversation:
    contact = Contact(
        id=row[11],
        channel=row[12],
        address=row[13],
        name=row[14],
        opted_out_at=row[15],
        blocked_at=row[16],
    )
    return Conversation(
        id=row[0], thread_id=row[1], our_address=row[2], lane=row[3], owner=Owner(row[4]), status=Status(row[5]),
        closed_reason=CloseReason(row[6]) if row[6] else None, opened_at=row[7], last_message_at=row[8],
        last_inbound_at=row[9], closed_at=row[10], contact=contact,
        owner_name=row[17], owner_since=row[18], owner_version=row[19], owner_acted_at=row[20],
        handed_reason=row[21], told_at=row[22], is_paused=bool(row[23]), last_inbound_wall=row[24],
    )  # fmt: skip


def to_message(row: tuple[Any, ...]) -> Message:
    return Message(
        id=row[0], direction=row[1], author=row[2], body=row[3], description=row[4], at=row[5], wall_at=row[6],
        outcome=Outcome(row[7]) if row[7] else None, reason=row[8], answered_by=row[9], job_id=row[10],
        tries=row[11], failures=row[12], retry_at=row[13], ended_by=row[14],
        requests=row[15], output_tokens=row[16], written_by=row[17], returned=row[18],
    )  # fmt: skip


def to_outbox_row(row: tuple[Any, ...]) -> OutboxRow:
    fields = dict(zip(OutboxRow.__slots__, row, strict=True))
    words = {name: bool(fields[name]) for name in ("arrived", "confirms_opt_out", "says_handover")}
    return OutboxRow(**{**fields, **words})
