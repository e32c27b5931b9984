"""Ties a queue on Redis to the one database that its jobs are about: each keeps the other's mark."""

from __future__ import annotations

import secrets
from typing import Final

from convoq.db.store import Store
from convoq.db.transaction import Transaction
from convoq.errors import DatabaseRefused
from convoq.logs import log
from convoq.queue.redis.connection import Scripts

KEPT: Final = 1000  # marks; a worker's start each

KNOWN: Final = "SELECT 1 FROM queue_marks WHERE mark = ?"
ANY: Final = "SELECT 1 FROM queue_marks LIMIT 1"
ADD: Final = "INSERT INTO queue_marks (mark) VALUES (?)"
FORGET: Final = "DELETE FROM queue_marks WHERE id <= (SELECT max(id) FROM queue_marks) - ?"


class Ownership:
    """A new mark is in the database before it is in the queue. So one that the database does not know was written for
    another database: a second installation's below the same prefix, a copy, or this one before it was restored.
    """

    def __init__(self, scripts: Scripts, store: Store, where: str) -> None:
        """`where` says of the queue where it is, for people."""
        self._scripts = scripts
        self._store = store
        self._where = where
        self._key = f"{scripts.prefix}mark"

    async def require(self) -> None:
        """Raises DatabaseRefused for another database's queue; one without a mark is new, or has forgotten all."""
        mark = await self._scripts.command("GET", self._key)
        if mark is not None and not await self._store.read(_is_known, mark.decode()):
            raise DatabaseRefused(
                f"{self._where} has worked for another database than {self._store.location}: that of another"
                " installation, or this one before it was copied or restored. Give this one a redis.prefix that nothing"
                " has used: who waits is found in its conversations and on Twilio's list"
            )

    async def claim(self) -> None:
        """From now on it is this database's. Raises DatabaseRefused."""
        mark = secrets.token_hex(16)
        while True:
            found = await self._scripts.command("GET", self._key)
            if found is None and await self._store.read(_has_marks):
                log.warning("queue.forgotten", queue=self._where)
            await self.require()
            await self._store.write(_add, mark)
            # NX: two databases that find it new do not both get it.
            if await self._scripts.command("SET", self._key, mark, "NX" if found is None else "XX") is not None:
                return


def _is_known(tx: Transaction, mark: str) -> bool:
    return tx.execute(KNOWN, (mark,)).fetchone() is not None


def _has_marks(tx: Transaction) -> bool:
    return tx.execute(ANY).fetchone() is not None


def _add(tx: Transaction, mark: str) -> None:
    if not _is_known(tx, mark):
        tx.execute(ADD, (mark,))
        tx.execute(FORGET, (KEPT,))
