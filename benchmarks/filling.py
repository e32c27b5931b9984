"""Makes a database as years of use leave it: `python -m benchmarks.filling FILE MESSAGES`."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import sys
from pathlib import Path
from typing import Final

from convoq.conversations.text_index import TextIndex
from convoq.db import Database

STEP: Final = 20_000  # messages a transaction
WORDS: Final = 4_000
MESSAGES_OF_CONVERSATION: Final = 10
RARE: Final = "Ankerwickelmaschine"  #: in one message of 200,000
COMMON: Final = "the "  #: in most messages
INDEXED_AT_ONCE: Final = 2_000
MINUTE_MS: Final = 60_000


def fill(path: Path, messages: int, *, seed: int = 1) -> None:
    """`messages` messages, half of them ours, in conversations of ten, half as many jobs; what is over is over."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -200000")
        words = _Words(seed)
        for first in range(0, messages, STEP):
            connection.execute("BEGIN IMMEDIATE")
            _fill(connection, words, first, min(messages, first + STEP))
            connection.execute("COMMIT")
    finally:
        connection.close()


async def create(path: Path, messages: int) -> None:
    """A new database, its texts indexed."""
    async with await Database.open(path) as database:
        await asyncio.to_thread(fill, database.path, messages)
        index = TextIndex(database)
        while await index.advance(INDEXED_AT_ONCE):
            pass


class _Words:
    """Texts whose words are as unevenly common as in a language."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        letters = "etaoinshrdlucmfwypvbgk"
        made = ("".join(self._random.choices(letters, k=self._random.randint(2, 9))) for _ in range(WORDS))
        self._words = ["the", "to", "you", *made]
        self._weights = [0.0]
        for rank in range(1, len(self._words) + 1):
            self._weights.append(self._weights[-1] + 1 / rank)
        del self._weights[0]

    def text(self, number: int) -> str:
        words = self._random.choices(self._words, cum_weights=self._weights, k=self._random.randint(4, 24))
        if number % 200_000 == 77_777 % 200_000:
            words.append(RARE)
        return f"{' '.join(words)} {number:08}"


def _fill(connection: sqlite3.Connection, words: _Words, first: int, end: int) -> None:
    conversations = range(first // MESSAGES_OF_CONVERSATION + 1, (end - 1) // MESSAGES_OF_CONVERSATION + 2)
    texts = [words.text(number) for number in range(first, end)]
    connection.executemany(
        """INSERT OR IGNORE INTO contacts (id, channel, address, first_seen_at, last_seen_at)
           VALUES (?, 'whatsapp', ?, 0, 0)""",
        ((one, f"whatsapp:+1555{one:07}") for one in conversations),
    )
    connection.executemany(
        "INSERT OR IGNORE INTO threads (id, contact_id, our_address, lane) VALUES (?, ?, 'whatsapp:+15550000000', ?)",
        ((one, one, f"turn:{one}") for one in conversations),
    )
    connection.executemany(
        """INSERT OR IGNORE INTO conversations (id, thread_id, owner, status, closed_reason, opened_at, last_message_at)
           VALUES (?, ?, 'ai', ?, ?, ?, ?)""",
        (_conversation(one) for one in conversations),
    )
    connection.executemany(
        """INSERT INTO messages (id, thread_id, conversation_id, direction, author, source, body, description, at,
           wall_at, outcome) VALUES (?, ?, ?, ?, ?, ?, ?, '', ?, ?, ?)""",
        (_message(number, text) for number, text in enumerate(texts, first)),
    )
    connection.executemany(
        """INSERT INTO outbox (reference, thread_id, conversation_id, message_id, part, body, state, settled_at,
           provider_id) VALUES (?, ?, ?, ?, 0, ?, 'sent', ?, ?)""",
        (_part(number, texts[number - first]) for number in range(first, end) if number % 2),
    )
    connection.executemany(
        """INSERT INTO jobs (lane, lane_id, kind, payload, state, priority, attempt, max_attempts, enqueued_at,
           finished_at) VALUES (?, 0, ?, ?, 'done', 1, 1, 5, ?, ?)""",
        (_job(number, texts[number - first]) for number in range(first, end, 2)),
    )


def _conversation(one: int) -> tuple[object, ...]:
    last = one * MESSAGES_OF_CONVERSATION * MINUTE_MS
    closed = one % 20 != 0
    return one, one, "closed" if closed else "idle", "expired" if closed else None, last - 10 * MINUTE_MS, last


def _message(number: int, text: str) -> tuple[object, ...]:
    conversation, at = number // MESSAGES_OF_CONVERSATION + 1, number * MINUTE_MS
    if number % 2:
        return number + 1, conversation, conversation, "out", "ai", f"turn:{number:x}:{number}", text, at, at, None
    return number + 1, conversation, conversation, "in", "contact", f"SM{number:032x}", text, at, at, "answered"


def _part(number: int, text: str) -> tuple[object, ...]:
    conversation = number // MESSAGES_OF_CONVERSATION + 1
    return f"{number:016x}", conversation, conversation, number + 1, text, number * MINUTE_MS, f"SM{number:032x}"


def _job(number: int, text: str) -> tuple[object, ...]:
    person = number // MESSAGES_OF_CONVERSATION + 1
    if number % 4:
        return f"turn:{person}", "process_ai_response", f'{{"thread":{person}}}', number * MINUTE_MS, number * MINUTE_MS
    sender = f"whatsapp:+1555{person:07}"
    form = json.dumps({"form": {"Body": text, "From": sender, "MessageSid": f"SM{number:032x}", "Rest": "y" * 300}})
    return sender, "receive_message", form, number * MINUTE_MS, number * MINUTE_MS


if __name__ == "__main__":
    name, number = sys.argv[1:]
    asyncio.run(create(Path(name), int(number)))
