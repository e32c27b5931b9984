"""A thread: one person at one of our addresses, for ever. What waits, what is to be sent and the turns are its."""

from __future__ import annotations

import secrets
from typing import NamedTuple

from convoq.conversations.erased import accepted_before_erasure, restore_consent
from convoq.db.transaction import Transaction
from convoq.errors import Fenced
from convoq.jobs import turn_key


class Thread(NamedTuple):
    """Where a turn is due, and whether at once."""

    id: int
    lane: str
    failing: bool = False  #: a turn of it backs off, which what came since need not wait for


def join_thread(tx: Transaction, contact_id: int, channel: str, our_address: str, address: str) -> Thread:
    """The person's thread with this address of ours, begun where there is none."""
    found = tx.execute(
        "SELECT id, lane FROM threads WHERE contact_id = ? AND our_address = ?", (contact_id, our_address)
    ).fetchone()
    if found is None:
        lane = turn_key(channel, our_address, address)
        found = tx.execute(
            "INSERT INTO threads (contact_id, our_address, lane) VALUES (?, ?, ?) RETURNING id, lane",
            (contact_id, our_address, lane),
        ).fetchone()
        tx.execute(KNOW_AS_OURS, (channel, our_address))
        restore_consent(tx, contact_id, channel, address)
    return Thread(*found)


# Not to be caught up with before its first message.
KNOW_AS_OURS = """
    INSERT INTO our_addresses (channel, our_address, known_since, last_heard) VALUES (?, ?, 0, 0)
    ON CONFLICT (channel, our_address) DO NOTHING
"""


def reach(
    tx: Transaction, channel: str, our_address: str, address: str, name: str | None, seen_at: int, *, accepted_at: int
) -> tuple[int, Thread] | None:
    """The contact and its thread, begun where there are none. None: the contact was erased since `accepted_at`."""
    thread = find_thread(tx, channel, our_address, address)
    if thread is None and accepted_before_erasure(tx, channel, address, accepted_at):
        return None
    contact_id = upsert_contact(tx, channel, address, name, seen_at)
    return contact_id, thread or join_thread(tx, contact_id, channel, our_address, address)


def find_thread(tx: Transaction, channel: str, our_address: str, address: str) -> Thread | None:
    """The person's thread with this address of ours, if there is one."""
    lane = turn_key(channel, our_address, address)
    found = tx.execute("SELECT id, lane FROM threads WHERE lane = ?", (lane,)).fetchone()
    return None if found is None else Thread(*found)


def get_thread(tx: Transaction, thread_id: int) -> Thread | None:
    found = tx.execute("SELECT id, lane FROM threads WHERE id = ?", (thread_id,)).fetchone()
    return None if found is None else Thread(*found)


def contact_of(tx: Transaction, thread_id: int) -> int:
    (contact_id,) = tx.execute("SELECT contact_id FROM threads WHERE id = ?", (thread_id,)).fetchone()
    return int(contact_id)


def take_token(tx: Transaction, thread_id: int) -> str:
    """A new one: whatever holds the one before may not write any more."""
    token = secrets.token_hex(8)
    tx.execute("UPDATE threads SET token = ? WHERE id = ?", (token, thread_id))
    return token


def require_token(tx: Transaction, thread_id: int, token: str) -> None:
    """Raises Fenced."""
    if tx.execute("SELECT 1 FROM threads WHERE id = ? AND token = ?", (thread_id, token)).fetchone() is None:
        raise Fenced


def upsert_contact(tx: Transaction, channel: str, address: str, name: str | None, at: int) -> int:
    row = tx.execute(UPSERT_CONTACT, (channel, address, name, at, at)).fetchone()
    return int(row[0])


UPSERT_CONTACT = """
    INSERT INTO contacts (channel, address, name, first_seen_at, last_seen_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (channel, address) DO UPDATE
    SET name = CASE WHEN contacts.named_by IS NULL THEN coalesce(excluded.name, contacts.name) ELSE contacts.name END,
        last_seen_at = CASE WHEN excluded.last_seen_at > contacts.last_seen_at
            THEN excluded.last_seen_at ELSE contacts.last_seen_at END
    RETURNING id
"""
