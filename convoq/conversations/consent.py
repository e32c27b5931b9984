"""Whether a person wants to hear from us, said by STOP and START, or by what the channel reports."""

from __future__ import annotations

from typing import Final

from convoq.conversations.lifecycle import move
from convoq.conversations.states import CloseReason, Outcome, Owner, Status
from convoq.conversations.stopping import Stop, conclude_waiting, forget_stopped, stop_parts
from convoq.conversations.threads import Thread, contact_of
from convoq.db.transaction import Transaction

OPTED_OUT: Final = Stop("failed", "opted_out", "the person has opted out")


def opt_out(tx: Transaction, thread_id: int, now: int, *, why: str, said_at: int | None = None) -> list[Thread]:
    """Nothing that has not left yet goes out any more, also not after a START, in none of the person's threads.

    Returns those threads. The conversation in which the person said so is over. `said_at`: when, if that is found late.
    """
    contact_id = contact_of(tx, thread_id)
    again = has_opted_out(tx, contact_id)
    tx.execute(OPT_OUT, {"contact": contact_id, "at": now if said_at is None else said_at})
    found = tx.execute("SELECT id FROM conversations WHERE thread_id = ? AND status <> 'closed'", (thread_id,))
    for (conversation_id,) in found.fetchall():
        move(
            tx, conversation_id, Status.CLOSED, who="contact", why=why, now=now,
            reason=CloseReason.OPTED_OUT, owner=Owner.NOBODY,
        )  # fmt: skip
    threads = [
        Thread(*row)
        for row in tx.execute("SELECT id, lane FROM threads WHERE contact_id = ?", (contact_id,)).fetchall()
    ]
    for thread in threads:
        conclude_waiting(tx, thread.id, Outcome.OPTED_OUT)
        stop_parts(tx, thread.id, OPTED_OUT, now, spare_confirmation=again)
        if not again:  # what has ended since is what confirms the first
            forget_stopped(tx, thread.id)
    return threads


# The newest counts: a START that is found late may lie between two.
OPT_OUT: Final = """
    UPDATE contacts SET opted_out_at = CASE WHEN opted_out_at > :at THEN opted_out_at ELSE :at END WHERE id = :contact
"""


def has_opted_out(tx: Transaction, contact_id: int) -> bool:
    (opted_out_at,) = tx.execute("SELECT opted_out_at FROM contacts WHERE id = ?", (contact_id,)).fetchone()
    return opted_out_at is not None


def opt_out_as_told(tx: Transaction, thread_id: int, now: int, *, attempted_at: int) -> None:
    """As opt_out, because the channel refused a message for it that was sent then: unless the person is back since."""
    if not has_come_back_since(tx, thread_id, attempted_at):
        opt_out(tx, thread_id, now, why="the channel says that the person has opted out")


def has_come_back_since(tx: Transaction, thread_id: int, moment: int) -> bool:
    """Whether the person has said START since then, and so had most likely opted out before."""
    (opted_in_at,) = tx.execute(OPTED_IN_AT, (thread_id,)).fetchone()
    return opted_in_at is not None and moment <= opted_in_at


OPTED_IN_AT: Final = """
    SELECT p.opted_in_at FROM threads AS t JOIN contacts AS p ON p.id = t.contact_id WHERE t.id = ?
"""


def opt_in(tx: Transaction, contact_id: int, said_at: int, *, is_start: bool, is_late: bool) -> bool:
    """Whether the person had opted out until then. A START is on record also where its STOP never came.

    One that is found late takes no STOP back that was said after it.
    """
    changed = (
        tx.execute(OPT_IN, {"at": said_at, "contact": contact_id, "before": said_at if is_late else EVER}).rowcount > 0
    )
    if is_start and not changed:
        tx.execute(NOTE_START, (said_at, contact_id, said_at))
    return changed


EVER: Final = 2**63 - 1


def is_taken_back(tx: Transaction, contact_id: int, said_at: int) -> bool:
    """Whether a START is on record that was said after this STOP."""
    return tx.execute(STARTED_SINCE, (contact_id, said_at)).fetchone() is not None


OPT_IN: Final = """
    UPDATE contacts SET opted_out_at = NULL, opted_in_at = :at
    WHERE id = :contact AND opted_out_at IS NOT NULL AND opted_out_at <= :before
"""
NOTE_START: Final = """
    UPDATE contacts SET opted_in_at = ? WHERE id = ? AND opted_out_at IS NULL AND coalesce(opted_in_at, 0) < ?
"""
STARTED_SINCE: Final = "SELECT 1 FROM contacts WHERE id = ? AND opted_in_at > ?"
