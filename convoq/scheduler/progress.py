"""Up to where the slots of each entry are done, so that a missed one is known as missed after any downtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from convoq.db import Database
    from convoq.db.transaction import Transaction

LAST: Final = "SELECT spec, last_slot FROM schedules WHERE name = ?"
RECORD: Final = """
INSERT INTO schedules (name, spec, last_slot) VALUES (:name, :spec, :slot)
ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, last_slot = excluded.last_slot
"""


class Progress(Protocol):
    """Remembers for each entry up to where its slots are done."""

    async def last(self, name: str) -> tuple[str, int] | None:
        """The spec and the moment (ms) of the latest record, or None."""
        ...

    async def record(self, name: str, spec: str, slot: int) -> None:
        """Every slot up to `slot` is done. Raises DatabaseUnavailable when it could not be written."""
        ...


class SqlProgress:
    """The progress in convoq's database, shared by every scheduler on it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def last(self, name: str) -> tuple[str, int] | None:
        return await self._database.read(_last, name)

    async def record(self, name: str, spec: str, slot: int) -> None:
        # Not flushed by itself: after a power cut the slot is enqueued again, and the queue knows it as a duplicate.
        await self._database.write(_record, name, spec, slot, durable=False)


def _last(tx: Transaction, name: str) -> tuple[str, int] | None:
    row = tx.execute(LAST, (name,)).fetchone()
    return None if row is None else (row[0], row[1])


def _record(tx: Transaction, name: str, spec: str, slot: int) -> None:
    tx.execute(RECORD, {"name": name, "spec": spec, "slot": slot})
