"""The index of texts: filled behind what is written, and asked which messages may hold a text."""

from __future__ import annotations

from typing import Final

from convoq.db.store import Store
from convoq.db.transaction import Transaction

TRIGRAM: Final = 3
MOST_TRIGRAMS: Final = 32  # of a long text that are asked for; the message itself decides
MERGED_PAGES: Final = 200  # a transaction
MERGED_BESIDE: Final = 40  # pages with each step of the index: as many as keep up with what is added
LAST_CHARACTER: Final = "\U0010ffff"


class TextIndex:
    """Each method is one short transaction: safe to repeat, to leave and to lose. Without an index they do nothing."""

    def __init__(self, database: Store) -> None:
        self._database = database

    async def advance(self, limit: int) -> int:
        """Indexes the next messages, at most `limit`; how many."""
        if not self._database.has_text_index:
            return 0
        return await self._database.write(advance, limit, durable=False)

    async def forget_erased(self) -> int:
        """One step of the merge after which the index holds nothing of texts that are gone; 0: there was none left."""
        return await self._database.write(forget_erased) if self._database.has_text_index else 0


def advance(tx: Transaction, limit: int) -> int:
    through = indexed_through(tx)
    (last, number) = tx.execute(NEXT, (through, limit)).fetchone()
    if number:
        tx.execute("INSERT INTO message_texts (rowid, text) " + NEXT_TEXTS, (through, last))
        tx.execute("UPDATE text_search SET indexed_through = ?", (last,))
        tx.execute(MERGE, (MERGED_BESIDE,))
    return int(number)


def indexed_through(tx: Transaction) -> int:
    """The last message that the index knows."""
    return int(tx.execute("SELECT indexed_through FROM text_search").fetchone()[0])


def forget_erased(tx: Transaction) -> int:
    (state,) = tx.execute("SELECT holds_erased FROM text_search").fetchone()
    if not state:
        return 0
    # Negative: begin to merge all segments into one, which leaves out what was deleted. Positive: go on with it.
    pages = -MERGED_PAGES if state == FRESHLY_ERASED else MERGED_PAGES
    before = _changes(tx)
    tx.execute(MERGE, (pages,))
    done = _changes(tx) - before < 2  # as SQLite documents it: a merge that found nothing to do
    tx.execute("UPDATE text_search SET holds_erased = ?", (0 if done else MERGING,))
    return 1


FRESHLY_ERASED: Final = 1
MERGING: Final = 2


def candidates(tx: Transaction, text: str, limit: int) -> list[int] | None:
    """Indexed messages that may hold the text, newest first; None: the index can't tell, or they are more than `limit`.

    What it leaves out does not hold it.
    """
    if not text or "\0" in text:
        return None
    if len(text) < TRIGRAM:
        found = tx.execute(BEGINNING, (text, text + LAST_CHARACTER, limit + 1)).fetchall()
    else:
        found = tx.execute(HOLDING, (_expression(text), limit + 1)).fetchall()
    return None if len(found) > limit else [message_id for (message_id,) in found]


def _expression(text: str) -> str:
    """All of these trigrams: without positions in the index, a phrase of them can't be asked for."""
    trigrams = list(dict.fromkeys(text[start : start + TRIGRAM] for start in range(len(text) - TRIGRAM + 1)))
    step = -(-len(trigrams) // MOST_TRIGRAMS)
    return " AND ".join('"' + trigram.replace('"', '""') + '"' for trigram in trigrams[::step])


def _changes(tx: Transaction) -> int:
    return int(tx.execute("SELECT total_changes()").fetchone()[0])


MERGE = "INSERT INTO message_texts (message_texts, rank) VALUES ('merge', ?)"
NEXT = "SELECT max(id), count(*) FROM (SELECT id FROM messages WHERE id > ? ORDER BY id LIMIT ?)"
NEXT_TEXTS = "SELECT id, text FROM searchable_texts WHERE id > ? AND id <= ?"
BEGINNING = "SELECT DISTINCT doc FROM message_trigrams WHERE term >= ? AND term < ? LIMIT ?"
HOLDING = "SELECT rowid FROM message_texts WHERE message_texts MATCH ? ORDER BY rowid DESC LIMIT ?"
