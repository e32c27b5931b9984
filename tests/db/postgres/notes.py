"""What the store's tests write and read: rows of the table of schedules, which stands for any."""

from __future__ import annotations

from convoq.db.postgres.store import PostgresDatabase
from convoq.db.transaction import Transaction


def put(tx: Transaction, text: str) -> None:
    tx.execute("INSERT INTO schedules (name, spec, last_slot) VALUES (?, '', 0)", (text,))


def put_and_refuse(tx: Transaction, text: str) -> None:
    put(tx, text)
    raise ValueError("no")


def count_one_more(tx: Transaction, text: str) -> int:
    """As units are written that know no other writer: what was read decides what is written."""
    found = tx.execute("SELECT last_slot FROM schedules WHERE name = ?", (text,)).fetchone()
    if found is None:
        tx.execute("INSERT INTO schedules (name, spec, last_slot) VALUES (?, '', 1)", (text,))
        return 1
    tx.execute("UPDATE schedules SET last_slot = ? WHERE name = ?", (found[0] + 1, text))
    return int(found[0]) + 1


def notes(tx: Transaction) -> list[str]:
    return [name for (name,) in tx.execute("SELECT name FROM schedules ORDER BY name")]


async def notes_in(store: PostgresDatabase) -> list[str]:
    return await store.read(notes)
