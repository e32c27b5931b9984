"""One act on many jobs, as it is asked for and carried out: how far it has come, and whether it is to stop."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple

from convoq.conversations.audit_trail import record_act
from convoq.conversations.ownership import ActRefused
from convoq.db.store import Store
from convoq.db.transaction import Transaction

KEPT: Final = timedelta(days=30)


class BulkState(enum.StrEnum):
    RUNNING = "running"
    STOPPING = "stopping"  #: after the batch that is under way
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


class BulkAct(NamedTuple):
    """Times are ms on the queue's clock."""

    id: int
    act: str
    filter: Mapping[str, Any]  #: which jobs, as who asked has said it
    who: str
    way: str | None
    state: BulkState
    total: int  #: jobs that were meant when it was asked for
    changed: int
    left_alone: int  #: that a change would do nothing to, or that had changed meanwhile
    cursor: str | None  #: the last job that was looked at
    through: str  #: the last one that is meant
    begun_at: int
    ended_at: int | None
    error: str | None

    @property
    def is_over(self) -> bool:
        return self.ended_at is not None


class BulkActs:
    """Each method is one transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, bulk_id: int) -> BulkAct | None:
        return await self._store.read(find, bulk_id)

    async def advance(self, bulk_id: int, cursor: str, *, changed: int, left_alone: int) -> BulkState:
        """So many more; whether it is to go on. What a worker did just before it was killed is in no count."""
        return await self._store.write(advance, bulk_id, cursor, changed, left_alone)

    async def end(self, bulk_id: int, state: BulkState, error: str | None = None) -> None:
        now = self._store.clock.now()
        await self._store.write(lambda tx: tx.execute(END, (state, now, error, bulk_id)))


def add(
    tx: Transaction, act: str, chosen: Mapping[str, Any], total: int, through: str, name: str, now: int,
    *, way: str | None = None,
) -> BulkAct:  # fmt: skip
    """Its job is to be enqueued in this transaction."""
    values = (act, json.dumps(chosen), name, way, BulkState.RUNNING, total, through, now)
    (bulk_id,) = tx.execute(ADD, values).fetchone()
    record_act(tx, now, name, f"bulk_{act}", subject=f"bulk:{bulk_id}", detail=f"{total} jobs", way=way)
    return _require(tx, bulk_id)


def stop(tx: Transaction, bulk_id: int, name: str, now: int, *, way: str | None = None) -> BulkAct:
    """After the batch that is under way. Raises ActRefused, LookupError."""
    bulk = _require(tx, bulk_id)
    if bulk.is_over:
        raise ActRefused("unchanged", f"bulk act {bulk_id} is over: {bulk.state}")
    tx.execute("UPDATE bulk_acts SET state = ? WHERE id = ?", (BulkState.STOPPING, bulk_id))
    record_act(tx, now, name, "stop_bulk", subject=f"bulk:{bulk_id}", way=way)
    return bulk._replace(state=BulkState.STOPPING)


def find(tx: Transaction, bulk_id: int) -> BulkAct | None:
    row = tx.execute(f"{BULK_ACTS} WHERE id = ?", (bulk_id,)).fetchone()
    return None if row is None else _to_bulk_act(row)


def running(tx: Transaction) -> list[int]:
    return [bulk_id for (bulk_id,) in tx.execute("SELECT id FROM bulk_acts WHERE ended_at IS NULL ORDER BY id")]


def advance(tx: Transaction, bulk_id: int, cursor: str, changed: int, left_alone: int) -> BulkState:
    (state,) = tx.execute(ADVANCE, (cursor, changed, left_alone, bulk_id)).fetchone()
    return BulkState(state)


def expire(tx: Transaction, before: int, limit: int) -> int:
    return tx.execute(EXPIRE, (before, limit)).rowcount


def _require(tx: Transaction, bulk_id: int) -> BulkAct:
    if (bulk := find(tx, bulk_id)) is None:
        raise LookupError(f"there is no bulk act {bulk_id}")
    return bulk


def _to_bulk_act(row: tuple[Any, ...]) -> BulkAct:
    found = BulkAct(*row)
    return found._replace(filter=json.loads(row[2]), state=BulkState(found.state))


BULK_ACTS: Final = """
    SELECT id, act, filter, who, way, state, total, changed, left_alone, cursor, through, begun_at, ended_at, error
    FROM bulk_acts
"""
ADD: Final = """
    INSERT INTO bulk_acts (act, filter, who, way, state, total, through, begun_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    RETURNING id
"""
ADVANCE: Final = """
    UPDATE bulk_acts SET cursor = ?, changed = changed + ?, left_alone = left_alone + ? WHERE id = ? RETURNING state
"""
END: Final = "UPDATE bulk_acts SET state = ?, ended_at = ?, error = ? WHERE id = ? AND ended_at IS NULL"
EXPIRE: Final = """
    DELETE FROM bulk_acts WHERE id IN (SELECT id FROM bulk_acts WHERE ended_at < ? ORDER BY id LIMIT ?)
"""
