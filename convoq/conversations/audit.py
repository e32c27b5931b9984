"""What in the store waits for the queue, by lane, and which rows contradict what sending relies on."""

from __future__ import annotations

from collections.abc import Mapping

from convoq.db.transaction import Transaction


def unanswered_by_lane(tx: Transaction) -> Mapping[str, int]:
    """How many messages of people wait for an answer."""
    return dict(tx.execute(UNANSWERED).fetchall())


def unsent_by_lane(tx: Transaction) -> Mapping[str, int]:
    """How many parts of ours wait to be sent."""
    return dict(tx.execute(UNSENT).fetchall())


def sent_without_id(tx: Transaction) -> int:
    """Parts that count as sent though no id of the provider says so."""
    (number,) = tx.execute("SELECT count(*) FROM outbox WHERE state = 'sent' AND provider_id IS NULL").fetchone()
    return int(number)


UNANSWERED = """
    SELECT c.lane, count(*) FROM conversations AS c JOIN messages AS m ON m.conversation_id = c.id
    WHERE c.status <> 'closed' AND m.id > c.answered_through AND m.direction = 'in' AND m.outcome IS NULL
    GROUP BY c.lane
"""
UNSENT = """
    SELECT c.lane, count(*) FROM outbox AS o JOIN conversations AS c ON c.id = o.conversation_id
    WHERE o.state IN ('ready', 'sending', 'ambiguous') GROUP BY c.lane
"""
