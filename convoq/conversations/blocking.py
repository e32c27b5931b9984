"""A person whom we do not answer any more, until an operator says otherwise."""

from __future__ import annotations

from typing import Final

from convoq.conversations import rows
from convoq.conversations.erased import take_erased_block
from convoq.conversations.lifecycle import owner_before
from convoq.conversations.ownership import ActRefused, set_owner
from convoq.conversations.persons import contacts_of_person
from convoq.conversations.states import CloseReason, HandedReason, Outcome, Owner
from convoq.conversations.stopping import Stop, conclude_waiting, stop_parts
from convoq.conversations.threads import take_token
from convoq.db.transaction import Transaction
from convoq.text import local_time

BLOCKED: Final = Stop("failed", "blocked", "the person is blocked")


def block(tx: Transaction, contact_id: int, name: str, now: int, reason: str | None = None) -> None:
    """Nothing goes out to the person that had not left, by none of their addresses. Raises ActRefused."""
    contacts = {one: _blocked_at(tx, one) for one in contacts_of_person(tx, contact_id)}
    since = [blocked_at for blocked_at in contacts.values() if blocked_at is not None]
    if len(since) == len(contacts):
        raise ActRefused("unchanged", f"the person is blocked already, since {local_time(min(since))}")
    for one, blocked_at in contacts.items():
        if blocked_at is None:
            _block(tx, one, name, now, reason)


def _blocked_at(tx: Transaction, contact_id: int) -> int | None:
    (blocked_at,) = tx.execute("SELECT blocked_at FROM contacts WHERE id = ?", (contact_id,)).fetchone()
    return None if blocked_at is None else int(blocked_at)


def _block(tx: Transaction, contact_id: int, name: str, now: int, reason: str | None) -> None:
    tx.execute("UPDATE contacts SET blocked_at = ? WHERE id = ?", (now, contact_id))
    for (thread_id,) in tx.execute("SELECT id FROM threads WHERE contact_id = ?", (contact_id,)).fetchall():
        take_token(tx, thread_id)
        conclude_waiting(tx, thread_id, Outcome.BLOCKED, reason)
        stop_parts(tx, thread_id, BLOCKED, now)
    for (conversation_id,) in tx.execute(OPEN_OF, (contact_id,)).fetchall():
        conversation = rows.conversation(tx, conversation_id)
        why = f"blocked: {reason}" if reason else "blocked"
        set_owner(tx, conversation, Owner.NOBODY, who=name, why=why, now=now)


def unblock(tx: Transaction, contact_id: int, name: str, now: int) -> None:
    """Who answered before does so again; what was written meanwhile stays unanswered. Raises ActRefused."""
    unblocked = [one for one in contacts_of_person(tx, contact_id) if tx.execute(UNBLOCK, (one,)).rowcount]
    if not unblocked:
        raise ActRefused("unchanged", "the person is not blocked")
    take_erased_block(tx, contact_id)
    for one in unblocked:
        _give_back(tx, one, name, now)


def _give_back(tx: Transaction, contact_id: int, name: str, now: int) -> None:
    for (conversation_id,) in tx.execute(LEFT_BY_BLOCK, (contact_id, CloseReason.OPTED_OUT)).fetchall():
        conversation, owner = rows.conversation(tx, conversation_id), owner_before(tx, conversation_id)
        set_owner(
            tx, conversation, owner, who=name, why="unblocked", now=now,
            name=conversation.owner_name if owner is Owner.HUMAN else None,
            reason=conversation.handed_reason or HandedReason.UNATTENDED if owner is Owner.WAITING else None,
        )  # fmt: skip


OPEN_OF: Final = """
    SELECT c.id FROM threads AS t JOIN conversations AS c ON c.thread_id = t.id
    WHERE t.contact_id = ? AND c.status <> 'closed' ORDER BY c.id
"""
# Also of one that upkeep has closed meanwhile: it may be gone on with.
LEFT_BY_BLOCK: Final = """
    SELECT c.id FROM threads AS t JOIN conversations AS c ON c.thread_id = t.id
    WHERE t.contact_id = ? AND c.owner = 'nobody' AND coalesce(c.closed_reason, '') <> ? ORDER BY c.id
"""
UNBLOCK: Final = "UPDATE contacts SET blocked_at = NULL WHERE id = ? AND blocked_at IS NOT NULL"
