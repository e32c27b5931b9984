"""A search in texts finds what a look through all of them finds, wherever housekeeping is with the index."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from convoq.conversations import search, text_index
from convoq.conversations.search import ConversationFilter
from convoq.conversations.text_index import TextIndex
from convoq.db import Database
from convoq.db.backup import back_up
from convoq.db.transaction import Transaction
from tests.query_plans.growth import ROWS, grow
from tests.query_plans.test_history import steps_of
from tests.stores import only_sqlite

pytestmark = only_sqlite

PIECES = (
    *(
        "a",
        "b",
        "A",
        "é",
        "É",
        "e\u0301",
        "ß",
        "ss",
        "退款",
        "退",
        "款",
        "🦄",
        "👩\u200d👧",
        '"',
        "'",
        "%",
        "_",
        "*",
        "\\",
    ),
    *(
        "\n",
        " ",
        "abc",
        "bca",
        "AND",
        "OR",
        "NEAR(",
        "^",
        "-",
        "(",
        ")",
        "{",
        ":",
        "order ",
        "Straße",
        "\u0130",
        "\u202e",
    ),
)
CONVERSATIONS = 20


def put(tx: Transaction, message_id: int, body: str, description: str = "") -> None:
    conversation = message_id % CONVERSATIONS + 1
    tx.execute(
        """INSERT INTO messages (id, thread_id, conversation_id, direction, author, source, body, description, at,
           wall_at, outcome) VALUES (?, ?, ?, 'in', 'contact', ?, ?, ?, 0, 0, 'answered')""",
        (message_id, conversation, conversation, f"s{message_id}", body, description),
    )


def people(tx: Transaction) -> None:
    for one in range(1, CONVERSATIONS + 1):
        tx.execute(
            "INSERT INTO contacts (id, channel, address, first_seen_at, last_seen_at) VALUES (?, 'c', ?, 0, 0)",
            (one, one),
        )
        tx.execute("INSERT INTO threads (id, contact_id, our_address, lane) VALUES (?, ?, 'o', ?)", (one, one, one))
        tx.execute(
            """INSERT INTO conversations (id, thread_id, owner, status, opened_at, last_message_at)
               VALUES (?, ?, 'ai', 'active', 0, ?)""",
            (one, one, one // 3),
        )


def scanned(tx: Transaction, text: str) -> list[int]:
    held = {
        c
        for c, *texts in tx.execute("SELECT conversation_id, body, description FROM messages")
        if text in texts[0] or text in texts[1]
    }
    newest = tx.execute("SELECT id FROM conversations ORDER BY last_message_at DESC, id DESC")
    return [conversation for (conversation,) in newest if conversation in held]


def found(tx: Transaction, text: str) -> list[int]:
    return search.find(tx, ConversationFilter(text=text), 1000, None, True)


def holds(tx: Transaction, text: bytes) -> bool:
    return any(text in block for (block,) in tx.execute("SELECT block FROM message_texts_data"))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("most", "walked"), [(20_000, 2000), (3, 4)], ids=["few", "too many for the index"])
async def test_it_finds_what_a_look_at_all_texts_finds(
    database: Database, monkeypatch: pytest.MonkeyPatch, seed: int, most: int, walked: int
) -> None:
    """Half way through the index, after texts were changed and deleted, too."""
    monkeypatch.setattr(search, "MOST_CANDIDATES", most)
    monkeypatch.setattr(search, "WALKED", walked)
    chance = random.Random(seed)
    index = TextIndex(database)

    def text() -> str:
        return "".join(chance.choices(PIECES, k=chance.randint(0, 9)))

    def change(tx: Transaction, first: int) -> None:
        for message_id in range(first, first + 40):
            put(tx, message_id, text(), text())
        ids = [message_id for (message_id,) in tx.execute("SELECT id FROM messages")]
        for message_id in chance.sample(ids, 5):
            tx.execute("DELETE FROM messages WHERE id = ?", (message_id,))
        for message_id in chance.sample(ids, 5):
            tx.execute("UPDATE messages SET body = ?, description = ? WHERE id = ?", (text(), text(), message_id))

    def compare(tx: Transaction) -> None:
        bodies = [body for (body,) in tx.execute("SELECT body FROM messages")]
        for _ in range(20):
            wanted = chance.choice([text(), chance.choice(PIECES), chance.choice(bodies)])
            start = chance.randint(0, max(0, len(wanted) - 1))
            wanted = wanted[start : start + chance.randint(1, 8)] or "a"
            assert (wanted, found(tx, wanted)) == (wanted, scanned(tx, wanted))
            where = ConversationFilter(text=wanted)
            assert search.count(tx, where, True, 10_000) == len(scanned(tx, wanted))
            assert search.find(tx, where, 2, None, True) == scanned(tx, wanted)[:2]

    await database.write(people)
    for number in range(5):
        await database.write(change, 1000 * number + 1)
        await database.read(compare)
        await index.advance(chance.randint(10, 50))
        await database.read(compare)
        if chance.random() < 0.5:
            while await index.forget_erased():
                pass
    await database.read(compare)


@pytest.mark.parametrize("text", ["Ankerwickel", "退款", "🦄"])
async def test_a_rare_text_costs_what_it_finds(database: Database, text: str) -> None:
    await database.write(grow)
    await database.write(lambda tx: tx.execute("UPDATE messages SET body = ? WHERE id = 77", (f"die {text}maschine",)))
    await TextIndex(database).advance(ROWS)

    def find(tx: Transaction) -> object:
        return search.find(tx, ConversationFilter(text=text), 50, None, True)

    assert await database.read(find) == [77]
    assert await database.read(lambda tx: steps_of(tx, find)) < ROWS


async def test_a_common_text_is_found_in_the_newest_conversations(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MOST_CANDIDATES", 100)
    await database.write(grow)

    def find(tx: Transaction) -> object:
        return search.find(tx, ConversationFilter(text="hi"), 5, None, True)

    assert await database.read(find) == [ROWS, ROWS - 1, ROWS - 2, ROWS - 3, ROWS - 4]


async def test_only_what_is_new_is_indexed(database: Database) -> None:
    index = TextIndex(database)
    await database.write(grow)
    assert [await index.advance(2000) for _ in range(3)] == [2000, 1000, 0]


async def test_what_is_erased_leaves_the_index(database: Database) -> None:
    """Its characters are in no page of the file, once housekeeping has merged the index."""
    index = TextIndex(database)
    await database.write(people)
    for number in range(1, 30):
        await database.write(put, number, f"ordinary {number}" if number != 7 else "Ωж secret")
        await index.advance(100)
    await database.write(lambda tx: tx.execute("DELETE FROM messages WHERE id = 7"))
    assert await database.read(holds, "Ωж".encode())
    while await index.forget_erased():
        pass
    assert not await database.read(holds, "Ωж".encode())
    assert await database.read(found, "ordinary 29") == [10]


async def test_a_backup_holds_the_index(database: Database, tmp_path: Path) -> None:
    await database.write(people)
    await database.write(put, 1, "the needle")
    await TextIndex(database).advance(10)
    copy = await back_up(database, tmp_path / "copy.db")
    with closing(sqlite3.connect(copy.path)) as connection:
        connection.execute("VACUUM")
        assert text_index.candidates(connection, "needle", 10) == [1]
        assert found(connection, "needle") == [2]


async def test_nothing_is_indexed_on_the_way_of_a_message(database: Database) -> None:
    await database.write(people)
    await database.write(put, 1, "the needle")
    assert await database.read(lambda tx: text_index.candidates(tx, "needle", 10)) == []
    assert await database.read(found, "needle") == [2]


async def test_a_search_runs_beside_housekeeping(database: Database) -> None:
    index = TextIndex(database)
    await database.write(grow)
    advancing = asyncio.ensure_future(index.advance(ROWS))
    assert [len(await database.read(found, "hi")) for _ in range(3)] == [1000] * 3
    assert await advancing == ROWS
