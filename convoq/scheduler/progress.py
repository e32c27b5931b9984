"""Up to where the slots of each entry are done, so that a missed one is known as missed after any downtime."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from convoq.monitoring.pauses import pauses

if TYPE_CHECKING:
    from convoq.db.store import Store
    from convoq.db.transaction import Transaction

LAST: Final = "SELECT spec, last_slot FROM schedules WHERE name = ?"
RECORD: Final = """
INSERT INTO schedules (name, spec, last_slot) VALUES (:name, :spec, :slot)
ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, last_slot = excluded.last_slot
"""
PAUSE: Final = "INSERT INTO schedule_pauses (name, paused_at, reason) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING"
RESUME: Final = "DELETE FROM schedule_pauses WHERE name = ?"


@dataclass(frozen=True, slots=True)
class Look:
    """What is recorded, by name."""

    recorded: frozenset[str]  #: entries that have a progress
    paused: frozenset[str]


class Progress(Protocol):
    """Remembers for each entry up to where its slots are done."""

    async def look(self) -> Look: ...

    async def forget(self, names: Collection[str]) -> None:
        """They have no progress any more. A pause stays."""
        ...

    async def last(self, name: str) -> tuple[str, int] | None:
        """The spec and the moment (ms) of the latest record, or None."""
        ...

    async def record(self, name: str, spec: str, slot: int) -> None:
        """Every slot up to `slot` is done. Raises DatabaseUnavailable when it could not be written."""
        ...


class SqlProgress:
    """The progress in convoq's database, shared by every scheduler on it."""

    def __init__(self, database: Store) -> None:
        self._database = database

    async def look(self) -> Look:
        return await self._database.read(_look)

    async def forget(self, names: Collection[str]) -> None:
        await self._database.write(_forget, names, durable=False)

    async def last(self, name: str) -> tuple[str, int] | None:
        return await self._database.read(_last, name)

    async def record(self, name: str, spec: str, slot: int) -> None:
        # Not flushed by itself: after a power cut the slot is enqueued again, and the queue knows it as a duplicate.
        await self._database.write(_record, name, spec, slot, durable=False)

    async def pause(self, name: str, *, reason: str | None) -> bool:
        """Nothing of the entry is enqueued on time from now on. False: it was paused before, and keeps its reason."""
        return await self._database.write(_pause, name, self._database.clock.now(), reason)

    async def resume(self, name: str, spec: str | None, moment: int) -> bool:
        """Slots later than `moment` are enqueued again. False: it was not paused. No spec: it is in no settings."""
        return await self._database.write(_resume, name, spec, moment)


def _look(tx: Transaction) -> Look:
    recorded = frozenset(name for (name,) in tx.execute("SELECT name FROM schedules"))
    return Look(recorded, frozenset(pause.name for pause in pauses(tx)))


def _forget(tx: Transaction, names: Collection[str]) -> None:
    tx.executemany("DELETE FROM schedules WHERE name = ?", [(name,) for name in names])


def _pause(tx: Transaction, name: str, now: int, reason: str | None) -> bool:
    return tx.execute(PAUSE, (name, now, reason)).rowcount == 1


def _resume(tx: Transaction, name: str, spec: str | None, moment: int) -> bool:
    if tx.execute(RESUME, (name,)).rowcount == 0:
        return False
    if spec is not None:
        _record(tx, name, spec, moment)
    return True


def _last(tx: Transaction, name: str) -> tuple[str, int] | None:
    row = tx.execute(LAST, (name,)).fetchone()
    return None if row is None else (row[0], row[1])


def _record(tx: Transaction, name: str, spec: str, slot: int) -> None:
    tx.execute(RECORD, {"name": name, "spec": spec, "slot": slot})
