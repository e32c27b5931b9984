"""Whether a person has been told that an AI answers: once, by the first answer that leaves."""

from __future__ import annotations

from typing import Final

from convoq.conversations import rows
from convoq.conversations.states import DEAD_ENDS
from convoq.db.transaction import Transaction


def is_disclosed(tx: Transaction, contact_id: int) -> bool:
    """Not by an answer that was given up, refused or not delivered; one that is still on its way counts."""
    return tx.execute(IS_DISCLOSED, (contact_id,)).fetchone() is not None


def disclose(tx: Transaction, contact_id: int, message_id: int, now: int) -> None:
    """The message tells the person, in whichever of their threads it is."""
    tx.execute("UPDATE contacts SET disclosed_at = ?, disclosed_by = ? WHERE id = ?", (now, message_id, contact_id))


# The sentence stands in the message's first part, and in each repeat of that. Parts go with the message's text, once
# that has been kept as long as it may be: then it counts as said.
IS_DISCLOSED: Final = f"""
    SELECT 1 FROM contacts AS p WHERE p.id = ? AND p.disclosed_at IS NOT NULL AND (
        p.disclosed_by IS NULL
        OR NOT EXISTS (SELECT 1 FROM outbox AS o WHERE o.message_id = p.disclosed_by)
        OR EXISTS (
            SELECT 1 FROM outbox AS f JOIN outbox AS o ON o.message_id = f.message_id AND o.body = f.body
            WHERE f.message_id = p.disclosed_by AND f.part = 0 AND ({rows.PENDS} OR (o.state = 'sent' AND (
                o.arrived = 1 OR coalesce(o.delivery, '') NOT IN {DEAD_ENDS}
                OR o.error = '{rows.TO_BE_SENT_AGAIN}')))))
"""
