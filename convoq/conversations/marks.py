"""What tells whether anything of the conversations has changed: cheap enough to ask while somebody looks."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from convoq.db.transaction import Transaction

NEWEST_PARTS: Final = 100  #: whose state may still change


def read_marks(tx: Transaction) -> str:
    """Another text after each change that an operator's page shows."""
    found = tx.execute(NEWEST).fetchone()
    parts = tx.execute(PARTS, (NEWEST_PARTS,)).fetchall()
    waits = tx.execute(WAITS).fetchone()
    # Not hash(): that is another one in each process, and a page would be news to itself at the next.
    return sha256(repr((found, parts, waits)).encode()).hexdigest()[:16]


NEWEST: Final = """
    SELECT (SELECT max(id) FROM messages), (SELECT max(id) FROM transitions), (SELECT max(id) FROM operator_notes),
        (SELECT max(id) FROM audit)
"""
PARTS: Final = "SELECT id, state, delivery FROM outbox ORDER BY id DESC LIMIT ?"
WAITS: Final = "SELECT count(*) FROM messages WHERE direction = 'in' AND outcome IS NULL"
