"""Which entries of the schedule are paused, since when and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from convoq.db.store import Store
    from convoq.db.transaction import Transaction

PAUSES: Final = "SELECT name, paused_at, reason FROM schedule_pauses ORDER BY name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Nothing of the entry is enqueued on time until it is resumed, also if the settings no longer name it."""

    name: str
    paused_at: int  #: ms on the queue's clock
    reason: str | None  #: in the words of the act that paused it


async def read_pauses(database: Store) -> list[Pause]:
    """All of them, by name."""
    return await database.read(pauses)


def pauses(tx: Transaction) -> list[Pause]:
    rows = tx.execute(PAUSES).fetchall()
    return [Pause(name=name, paused_at=paused_at, reason=reason) for name, paused_at, reason in rows]
