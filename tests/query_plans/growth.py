"""A database that has been in use for a while: the same number of rows in each table that grows."""

from __future__ import annotations

import sqlite3

ROWS = 3000
LANE = "'turn|twilio|whatsapp:+15550009999|whatsapp:+1666' || (1000000 + i)"
TABLES = {
    "contacts": "i, 'twilio', 'whatsapp:+1666' || (1000000 + i), NULL, i, i, NULL, NULL, NULL, NULL, NULL, 0, NULL"
    ", NULL",
    "threads": f"i, i, 'whatsapp:+15550009999', {LANE}, 'token', 0, i, i, 0, 0, NULL",
    "conversations": "i, i, 'closed', 'expired', i, i, i, NULL, 'ai', NULL, NULL, 0, NULL, NULL, NULL",
    "messages": "i, i, i, 'in', 'contact', 'twilio:' || i, '' || -i, 'hi', 'hi', '[]', i, i, 'answered', NULL, NULL"
    ", 1, 0, 0, NULL, 0, 0, NULL, 0",
    "outbox": "i, 'r' || i, i, i, i, 0, 'hi', 'sent', NULL, 1, i, i, 'SM' || i, 0, NULL, NULL, NULL, 'delivered', 3, i"
    ", NULL, 1, i, NULL, NULL, NULL",
    "drafts": "i, i, i, 'committed', 'hi', 'm', i",
    "model_calls": "i, i, i, 'm', 'ok', 1, 1, 1, NULL, i, 0, 0, NULL, NULL, '2020-01-01', 0, 0, NULL",
    "spending": "'2020-01-01', 'contact:' || i, 'USD', 1, 0, 1, 0, 0",
    "transitions": "i, i, i, 'contact', 'opened', NULL, 'ai', NULL, 'active', NULL",
    "contact_facts": "i, i, i, 'Marta', 'vegetarian'",
    "operator_notes": "i, i, i, i, 'Marta', 'hi'",
    "audit": "i, i, 'Marta', 'reply', i, NULL, NULL, NULL",
    "jobs": f"i, {LANE}, i, 'x', '{{}}', 'done', 1, 1, 8, i, i, i, NULL, NULL, NULL, NULL, NULL",
    "dedup": "i, i, i, i",
}


def grow(connection: sqlite3.Connection) -> None:
    """Fills the tables of an empty database; nothing of it waits."""
    for table, row in TABLES.items():
        connection.execute(
            f"WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})"
            f" INSERT INTO {table} SELECT {row} FROM n"
        )
