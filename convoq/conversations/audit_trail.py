"""What people of ours did: written in the transaction of the act, and never changed."""

from __future__ import annotations

from typing import Final, NamedTuple

from convoq.db.store import Store
from convoq.db.transaction import Transaction


class AuditEntry(NamedTuple):
    """One act. `subject` says on what, where that is no conversation; `way` how it came, where not by command."""

    id: int
    at: int
    who: str
    act: str
    conversation_id: int | None
    subject: str | None
    detail: str | None
    way: str | None


class AuditTrail:
    """Reads only."""

    def __init__(self, database: Store) -> None:
        self._database = database

    async def list(
        self, *, limit: int, before: int | None = None, since: int | None = None, who: str | None = None,
        conversation_id: int | None = None,
    ) -> list[AuditEntry]:  # fmt: skip
        """The newest first; every given condition holds."""
        return await self._database.read(_list, limit, before, since, who, conversation_id)


def record_act(
    tx: Transaction, now: int, who: str, act: str, *, conversation_id: int | None = None, subject: str | None = None,
    detail: str | None = None, way: str | None = None,
) -> None:  # fmt: skip
    """To be called by the act's own transaction."""
    tx.execute(RECORD, (now, who, act, conversation_id, subject, detail, way))


def _list(
    tx: Transaction, limit: int, before: int | None, since: int | None, who: str | None, conversation_id: int | None
) -> list[AuditEntry]:
    values = {"limit": limit, "before": before, "since": since, "who": who, "conversation": conversation_id}
    conditions = {
        "before": "id < :before", "since": "at >= :since", "who": "who = :who",
        "conversation": "conversation_id = :conversation",
    }  # fmt: skip
    wanted = [condition for name, condition in conditions.items() if values[name] is not None]
    given = {name: value for name, value in values.items() if value is not None}
    where = " AND ".join(wanted) or "true"
    return [AuditEntry(*row) for row in tx.execute(f"{ENTRIES} WHERE {where} {NEWEST}", given)]


RECORD: Final = """
    INSERT INTO audit (at, who, act, conversation_id, subject, detail, way) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
ENTRIES: Final = "SELECT id, at, who, act, conversation_id, subject, detail, way FROM audit"
NEWEST: Final = "ORDER BY id DESC LIMIT :limit"
