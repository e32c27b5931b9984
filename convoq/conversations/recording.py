"""Writes down what people wrote to us and what we have to say on our own account, once each."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from convoq.channels.base import Inbound, Keyword
from convoq.conversations import rows
from convoq.conversations.lifecycle import move, open_conversation
from convoq.conversations.records import Message
from convoq.conversations.states import CloseReason, Outcome, Status
from convoq.db import Database
from convoq.db.transaction import Transaction
from convoq.jobs import conversation_key
from convoq.queue.base import Fence


@dataclass(frozen=True, slots=True)
class Received:
    """A message and the job that carried it."""

    inbound: Inbound
    job_id: str
    accepted_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A message of our own to one person; `source` is what makes repeating it harmless."""

    channel: str
    our_address: str
    address: str
    text: str
    parts: tuple[str, ...]
    source: str


class Recorder:
    """Each method is one transaction, fsynced and safe to repeat. Raises LeaseLost, and writes nothing, when the claim
    behind the fence is no longer ours."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, messages: Sequence[Received], fence: Fence) -> int:
        """Stores what people wrote; returns the conversation that the last one belongs to."""
        return await self._database.write(record, messages, self._database.clock.now(), fence)

    async def announce(self, announcement: Announcement, fence: Fence) -> int:
        """A message of our own in a person's conversation, ready to be sent; returns the conversation."""
        return await self._database.write(announce, announcement, self._database.clock.now(), fence)


def record(tx: Transaction, messages: Sequence[Received], now: int, fence: Fence) -> int:
    fence.check(tx)
    return [_record_one(tx, message, now) for message in messages][-1]


def _record_one(tx: Transaction, received: Received, now: int) -> int:
    """Stores one message and returns its conversation; a message that has its outcome changes nothing."""
    inbound = received.inbound
    source = f"{inbound.channel}:{inbound.provider_id}"
    known = tx.execute("SELECT conversation_id, outcome FROM messages WHERE source = ?", (source,)).fetchone()
    if known is not None and known[1] not in (None, Outcome.FAILED, Outcome.CANCELLED):
        return int(known[0])
    contact_id = upsert_contact(tx, inbound.channel, inbound.address, inbound.profile_name, received.accepted_at)
    lane = conversation_key(inbound.channel, inbound.our_address, inbound.address)
    conversation_id = open_conversation(
        tx, contact_id, inbound.our_address, lane, received.accepted_at, now, who="contact"
    )
    if known is not None:
        # Back from the dead letters, its conversation may be over: it waits in the present one, with those after it.
        tx.execute(
            "UPDATE messages SET outcome = NULL, conversation_id = ? WHERE source = ?", (conversation_id, source)
        )
        # Else upkeep, if it looked just before, would close the conversation under the turn that begins.
        tx.execute("UPDATE conversations SET last_message_at = ? WHERE id = ?", (now, conversation_id))
        return conversation_id
    _insert_inbound(tx, conversation_id, source, received)
    if inbound.keyword is not None:
        _apply_keyword(tx, conversation_id, contact_id, inbound, now)
    return conversation_id


def _insert_inbound(tx: Transaction, conversation_id: int, source: str, received: Received) -> None:
    inbound = received.inbound
    media = json.dumps([{"url": item.url, "content_type": item.content_type} for item in inbound.media])
    tx.execute(
        """INSERT INTO messages (conversation_id, direction, author, source, job_id, body, description, media, at)
           VALUES (?, 'in', 'contact', ?, ?, ?, ?, ?, ?)""",
        (conversation_id, source, received.job_id, inbound.text, inbound.description, media, received.accepted_at),
    )
    tx.execute(
        """UPDATE conversations SET last_message_at = max(last_message_at, :at),
           last_inbound_at = max(coalesce(last_inbound_at, 0), :at) WHERE id = :id""",
        {"at": received.accepted_at, "id": conversation_id},
    )


def _apply_keyword(tx: Transaction, conversation_id: int, contact_id: int, inbound: Inbound, now: int) -> None:
    """STOP, START and YES take effect before any AI; what the carrier answers itself, no AI answers."""
    (last,) = tx.execute("SELECT max(id) FROM messages WHERE conversation_id = ?", (conversation_id,)).fetchone()
    if inbound.keyword is Keyword.STOP:
        tx.execute("UPDATE contacts SET opted_out_at = ? WHERE id = ?", (now, contact_id))
        waiting = rows.messages(tx, conversation_id, "m.outcome IS NULL AND m.direction = 'in'")
        set_outcome(tx, waiting[:-1], Outcome.OPTED_OUT)
        set_outcome(tx, waiting[-1:], Outcome.KEYWORD)
        closed = CloseReason.OPTED_OUT
        move(tx, conversation_id, Status.CLOSED, who="contact", why="STOP", now=now, reason=closed)
        return
    opted_in = inbound.keyword in (Keyword.START, Keyword.YES) and _opt_in(tx, contact_id)
    if inbound.carrier_replies and (opted_in or inbound.keyword is not Keyword.YES):
        tx.execute("UPDATE messages SET outcome = ? WHERE id = ?", (Outcome.KEYWORD, last))


def _opt_in(tx: Transaction, contact_id: int) -> bool:
    """Whether the person had opted out until now."""
    changed = tx.execute(
        "UPDATE contacts SET opted_out_at = NULL WHERE id = ? AND opted_out_at IS NOT NULL", (contact_id,)
    )
    return changed.rowcount > 0


def announce(tx: Transaction, announcement: Announcement, now: int, fence: Fence) -> int:
    fence.check(tx)
    known = tx.execute("SELECT conversation_id FROM messages WHERE source = ?", (announcement.source,)).fetchone()
    if known is not None:
        return int(known[0])
    contact_id = upsert_contact(tx, announcement.channel, announcement.address, None, now)
    lane = conversation_key(announcement.channel, announcement.our_address, announcement.address)
    conversation_id = open_conversation(tx, contact_id, announcement.our_address, lane, now, now, who="system")
    add_outgoing(tx, conversation_id, "system", announcement.source, announcement.text, announcement.parts, now)
    tx.execute("UPDATE conversations SET last_message_at = ? WHERE id = ?", (now, conversation_id))
    return conversation_id


def upsert_contact(tx: Transaction, channel: str, address: str, name: str | None, at: int) -> int:
    row = tx.execute(UPSERT_CONTACT, (channel, address, name, at, at)).fetchone()
    return int(row[0])


def add_outgoing(
    tx: Transaction,
    conversation_id: int,
    author: str,
    source: str,
    text: str,
    parts: Sequence[str],
    now: int,
) -> int:
    row = tx.execute(
        """INSERT INTO messages (conversation_id, direction, author, source, body, description, at)
           VALUES (?, 'out', ?, ?, ?, ?, ?) RETURNING id""",
        (conversation_id, author, source, text, text, now),
    ).fetchone()
    tx.executemany(
        """INSERT INTO outbox (reference, conversation_id, message_id, part, body, state)
           VALUES (?, ?, ?, ?, ?, 'ready')""",
        [(secrets.token_hex(8), conversation_id, row[0], number, part) for number, part in enumerate(parts)],
    )
    return int(row[0])


def set_outcome(tx: Transaction, messages: Sequence[Message], outcome: Outcome, answered_by: int | None = None) -> None:
    tx.executemany(
        "UPDATE messages SET outcome = ?, answered_by = ? WHERE id = ? AND outcome IS NULL",
        [(outcome, answered_by, message.id) for message in messages],
    )


UPSERT_CONTACT = """
    INSERT INTO contacts (channel, address, name, first_seen_at, last_seen_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (channel, address) DO UPDATE
    SET name = coalesce(excluded.name, name), last_seen_at = max(last_seen_at, excluded.last_seen_at)
    RETURNING id
"""
