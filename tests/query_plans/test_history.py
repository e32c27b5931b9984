"""What a model is shown is found without a walk past what it is not: a burst may be ten thousand messages long."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from itertools import count

import pytest

from convoq.conversations import rows
from convoq.db import Database
from convoq.db.transaction import Transaction

BURST = 5000
GRAIN = 10  # steps of SQLite's virtual machine
#: Outcomes of the burst, in SQL, that no model is shown.
UNSHOWN = ["NULL", "'failed'", "'cancelled'", "'opted_out'", "'blocked'"]


def talk(tx: Transaction, outcome: str) -> None:
    """Twenty messages and their answers, then a burst that became `outcome`."""
    tx.execute(
        "INSERT INTO contacts (id, channel, address, first_seen_at, last_seen_at) VALUES (1, 'twilio', '+1', 1, 1)"
    )
    tx.execute("INSERT INTO threads (id, contact_id, our_address, lane) VALUES (1, 1, '+2', 'turn')")
    tx.execute(
        "INSERT INTO conversations (id, thread_id, owner, status, opened_at, last_message_at)"
        " VALUES (1, 1, 'ai', 'active', 1, 1)"
    )
    for number, row in (
        (20, "1, 1, 'in', 'contact', 'a' || i, 'hi', 'hi', i, i, 'answered'"),
        (20, "1, 1, 'out', 'ai', 'r' || i, 'hi', 'hi', i, i, NULL"),
        (BURST, f"1, 1, 'in', 'contact', 'b' || i, 'hi', 'hi', i, i, {outcome}"),
    ):
        tx.execute(
            f"WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {number}) INSERT INTO messages"
            " (thread_id, conversation_id, direction, author, source, body, description, at, wall_at, outcome)"
            f" SELECT {row} FROM n"
        )


def steps_of(connection: sqlite3.Connection, read: Callable[[Transaction], object]) -> int:
    counted = count()
    connection.set_progress_handler(lambda: next(counted) * 0, GRAIN)
    try:
        read(connection)
    finally:
        connection.set_progress_handler(None, 0)
    return next(counted) * GRAIN


@pytest.mark.parametrize("outcome", UNSHOWN)
async def test_the_history_of_a_long_burst_costs_what_it_shows(database: Database, outcome: str) -> None:
    await database.write(talk, outcome)
    shown = await database.read(rows.newest_settled, 1, 1 << 40, 100)
    assert len(shown) == 40
    steps = await database.read(lambda tx: steps_of(tx, lambda tx: rows.newest_settled(tx, 1, 1 << 40, 100)))
    assert steps < BURST


async def test_the_history_is_read_from_the_index_of_what_is_shown(database: Database) -> None:
    seen: list[str] = []

    def explain(tx: sqlite3.Connection) -> list[str]:
        tx.set_trace_callback(seen.append)
        rows.newest_settled(tx, 1, 1, 100)
        tx.set_trace_callback(None)
        return [detail for *_, detail in tx.execute(f"EXPLAIN QUERY PLAN {seen[0]}")]

    plan = await database.read(explain)
    assert plan[0] == "SEARCH m USING INDEX messages_shown (conversation_id=?)"
