"""Deletes jobs from the SQLite file for good, whatever they are doing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from convoq.db.transaction import Transaction
from convoq.queue.sql import number_of
from convoq.queue.sqlite.lanes import DROP_LANE


def erase(tx: Transaction, ids: Sequence[str], now: int) -> int:
    """The lane of one that runs is free for what else stands in it, and its claim is lost."""
    return sum(_erase(tx, number_of(job_id), now) for job_id in ids)


def _erase(tx: Transaction, job_id: int, now: int) -> int:
    found = tx.execute("SELECT lane_id, state, receipt FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if found is None:
        return 0
    lane_id, state, receipt = found
    tx.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
    if state == "ready":
        tx.execute(DROP_LANE, (lane_id,))
        tx.execute(FREE_LANE, {"lane": lane_id, "receipt": receipt, "now": now})
    return 1


# What is left in it waits for nothing that was erased.
FREE_LANE: Final = """
    UPDATE lanes SET due_at = :now, receipt = NULL, worker = NULL, reason = NULL, kicked = 0
    WHERE id = :lane AND (receipt IS NULL OR receipt = :receipt)
"""
