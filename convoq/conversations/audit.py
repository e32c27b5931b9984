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


# The unary plus keeps SQLite from beginning with all threads.
UNANSWERED = """
    SELECT t.lane, count(*) FROM messages AS m JOIN threads AS t ON t.id = +m.thread_id
    WHERE m.direction = 'in' AND m.outcome IS NULL GROUP BY t.lane
"""
UNSENT = """
    SELECT t.lane, count(*) FROM outbox AS o JOIN threads AS t ON t.id = +o.thread_id
    WHERE o.state IN ('ready', 'sending', 'ambiguous') GROUP BY t.lane
"""
