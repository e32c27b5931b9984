"""Whether the database is sound, and whether everything in it that waits can still be reached."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Set
from functools import partial

from convoq.conversations.audit import sent_without_id, unanswered_by_lane, unsent_by_lane
from convoq.db import Database
from convoq.db.store import Store
from convoq.db.transaction import Transaction
from convoq.queue.audit import inconsistencies, reachable_lanes
from convoq.text import counted

MOST = 20  # findings of one kind that are worth reading


def examine(connection: sqlite3.Connection, *, holds_queue: bool = True) -> list[str]:
    """What is wrong, a line each; empty when nothing is. Reads every page: minutes for a file of gigabytes.

    Where the queue is elsewhere, whether a job comes for what waits is not told here.
    """
    damage = [row[0] for row in connection.execute(f"PRAGMA integrity_check({MOST})") if row[0] != "ok"]
    if damage:
        advice = "restore a backup, or save what can be read with sqlite3 .recover"
        return [*(" ".join(line.split()) for line in damage), advice]
    broken = [
        f"row {rowid} of {table} refers to a row of {parent} that is gone"
        for table, rowid, parent, _ in connection.execute("PRAGMA foreign_key_check").fetchmany(MOST)
    ]
    return [*broken, *contradictions(connection, holds_queue=holds_queue)]


async def find_flaws(database: Store, *, holds_queue: bool = True) -> list[str]:
    """As examine(); of a server's pages the server itself takes care."""
    if isinstance(database, Database):
        return await database.read(partial(examine, holds_queue=holds_queue))
    return await database.read(partial(contradictions, holds_queue=holds_queue))


def contradictions(tx: Transaction, *, holds_queue: bool = True) -> list[str]:
    """What does not fit together of the rows of queue and conversations, a line each."""
    return [f"{counted(number, noun)} {words}" for number, noun, words in _contradictions(tx, holds_queue)]


def first_damage(tx: Transaction) -> str | None:
    """The first damage that a quick look at each page of the file finds: seconds for a file of a gigabyte."""
    (verdict,) = tx.execute("PRAGMA quick_check(1)").fetchone()
    return None if verdict == "ok" else " ".join(str(verdict).split())


def _contradictions(tx: Transaction, holds_queue: bool) -> Iterator[tuple[int, str, str]]:
    """(how many, of what, what is wrong with them), none of them zero."""
    if holds_queue:
        yield from inconsistencies(tx)
        yield from _abandoned(tx)
    if nameless := sent_without_id(tx):
        yield nameless, "part", "of a reply counts as sent without the provider's id"


def _abandoned(tx: Transaction) -> Iterator[tuple[int, str, str]]:
    reachable = reachable_lanes(tx)
    if unanswered := _outside(unanswered_by_lane(tx), reachable):
        yield unanswered, "message", "of a person waits for an answer that no job will write"
    if unsent := _outside(unsent_by_lane(tx), reachable):
        yield unsent, "part", "of a reply waits to be sent and no job will send it"


def _outside(by_lane: Mapping[str, int], reachable: Set[str]) -> int:
    return sum(number for lane, number in by_lane.items() if lane not in reachable)
