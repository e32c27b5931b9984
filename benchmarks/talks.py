"""People who have written before: conversations with as many lines as a measurement asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from convoq.clock import WallClock
from convoq.db import Database
from convoq.db.transaction import Transaction
from convoq.jobs import turn_key

OUR_ADDRESS: Final = "whatsapp:+15550009999"
CHANNEL: Final = "twilio"
SAID: Final = (
    "Do you have a table for four on Friday evening, near the window if possible?",
    "Yes, we do. At half past seven, or at nine if you would rather eat late.",
)
BETWEEN_MS: Final = 10_000  #: two lines


def people(count: int) -> list[str]:
    return [f"whatsapp:+1555{number:07}" for number in range(count)]


async def create(path: Path, addresses: Sequence[str], lines: int) -> None:
    """In a database, new or not, each of them has an open conversation of so many lines, half of them ours."""
    async with await Database.open(path) as database:
        await database.write(_fill, addresses, lines, database.clock.now(), WallClock().now())


def _fill(tx: Transaction, addresses: Sequence[str], lines: int, now: int, wall_now: int) -> None:
    [newest] = tx.execute("SELECT coalesce(max(id), 0) FROM contacts").fetchone()
    for one, address in enumerate(addresses, newest + 1):
        tx.execute(
            "INSERT INTO contacts (id, channel, address, name, first_seen_at, last_seen_at) VALUES (?, ?, ?, ?, ?, ?)",
            (one, CHANNEL, address, "Ana Garcia", now, now),
        )
        tx.execute(
            "INSERT INTO threads (id, contact_id, our_address, lane) VALUES (?, ?, ?, ?)",
            (one, one, OUR_ADDRESS, turn_key(CHANNEL, OUR_ADDRESS, address)),
        )
        tx.execute(
            """INSERT INTO conversations (id, thread_id, owner, status, opened_at, last_message_at)
               VALUES (?, ?, 'ai', 'active', ?, ?)""",
            (one, one, now, now),
        )
        tx.executemany(
            """INSERT INTO messages (thread_id, conversation_id, direction, author, source, body, description, at,
               wall_at, outcome) VALUES (?, ?, ?, ?, ?, ?, '', ?, ?, ?)""",
            [_line(one, number, (lines - number) * BETWEEN_MS, now, wall_now) for number in range(lines)],
        )


def _line(conversation: int, number: int, age: int, now: int, wall_now: int) -> tuple[object, ...]:
    source, text, at, wall_at = f"{conversation}:{number}", SAID[number % 2], now - age, wall_now - age
    if number % 2:
        return conversation, conversation, "out", "ai", f"turn:{source}", text, at, wall_at, None
    return conversation, conversation, "in", "contact", f"{CHANNEL}:{source}", text, at, wall_at, "answered"
