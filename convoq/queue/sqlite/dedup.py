"""Dedup keys in the SQLite file: a digest each, in a table of their own that outlives the jobs."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Sequence
from hashlib import blake2b

from convoq.db.transaction import Transaction
from convoq.queue.rules import DEDUP_RETENTION_MS

PRUNED_OF = 10  # how many times the batch is looked through: a tenth of the table is then too old at most

_SLOTS = 2**63


def claim(tx: Transaction, keys: Sequence[tuple[int, str]], now: int) -> dict[int, int]:
    """Takes each job's key; returns the ids that were too late, each with the id of the job that has its key."""
    rows = [(*_halves(blake2b(key.encode(), digest_size=16).digest()), job_id, now) for job_id, key in keys]
    if tx.executemany(TAKE, rows).rowcount == len(rows):
        return {}
    originals: dict[int, int] = {}
    for slot, rest, job_id, _ in rows:
        owner, its_rest, its_time = tx.execute(OWNER, (slot,)).fetchone()
        if its_time < now - DEDUP_RETENTION_MS:
            tx.execute(TAKE_OVER, (rest, job_id, now, slot))
        # Two keys that share a slot but not the rest are two keys: better kept twice than lost once.
        elif owner != job_id and its_rest == rest:
            originals[job_id] = owner
    return originals


def find(tx: Transaction, key: str, now: int) -> int | None:
    """The id of the job that has the key."""
    slot, rest = _halves(blake2b(key.encode(), digest_size=16).digest())
    row = tx.execute(OWNER, (slot,)).fetchone()
    return row[0] if row is not None and row[1] == rest and row[2] >= now - DEDUP_RETENTION_MS else None


def prune(tx: Transaction, now: int, limit: int) -> None:
    """Forgets keys that are too old, in a stretch of the table that chance picks: its order is not that of time."""
    start = secrets.randbelow(2 * _SLOTS) - _SLOTS
    tx.execute(PRUNE, (start, limit * PRUNED_OF, now - DEDUP_RETENTION_MS))


TAKE = "INSERT INTO dedup (slot, rest, job_id, enqueued_at) VALUES (?, ?, ?, ?) ON CONFLICT (slot) DO NOTHING"
OWNER = "SELECT job_id, rest, enqueued_at FROM dedup WHERE slot = ?"
TAKE_OVER = "UPDATE dedup SET rest = ?, job_id = ?, enqueued_at = ? WHERE slot = ?"
PRUNE = """
    DELETE FROM dedup WHERE slot IN (SELECT slot FROM dedup WHERE slot >= ? ORDER BY slot LIMIT ?) AND enqueued_at < ?
"""

# Of a digest: its slot, and the rest.
_halves = struct.Struct("<qq").unpack
