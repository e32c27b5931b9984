"""How the functions of the migration that claim, end and look after lanes are called, and what their rows are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from convoq.db.transaction import Transaction
from convoq.errors import LeaseLost
from convoq.jobs import RESERVED
from convoq.queue.base import Claim, EndedJob, Job
from convoq.queue.postgres.calls import Row
from convoq.queue.postgres.text import read_key, stored_key, stored_text

CLAIM: Final = """
    SELECT * FROM queue_claim(%s, %s, %s, %s = 1, %s::integer, %s::integer, %s::integer, %s::smallint, %s::text[])
"""
ADVANCE: Final = "SELECT * FROM queue_advance(%s, %s, %s, %s::smallint, %s::bigint[], %s = 1, %s::text[])"
NACK: Final = """
    SELECT queue_nack(%s, %s, %s, %s, %s::bigint[], %s::bigint[], %s::bigint[], %s::text, %s::text, %s::text, %s = 1)
"""
EXTEND: Final = "SELECT queue_extend(%s, %s, %s, %s)"
DEAD_WORKERS: Final = "SELECT queue_dead_workers()"
RECOVER: Final = "SELECT queue_recover(%s, %s)"
NEXT_DUE: Final = "SELECT queue_next_due(%s, %s::smallint[])"
PRUNE: Final = "SELECT queue_prune(%s, %s, %s::integer)"
BURY: Final = """
    SELECT queue_end(:now, :lane, :receipt, CAST(:jobs AS bigint[]), 'dead', CAST(:error AS text), false, false)
"""
SKIP: Final = """
    SELECT queue_end(:now, :lane, :receipt, CAST(:jobs AS bigint[]), 'cancelled', CAST(:error AS text), true, false)
"""


def claim_of(rows: Sequence[Row]) -> Claim:
    """Of the rows of one lane."""
    lane, receipt, priority, crashes, has_more = rows[0][:5]
    return Claim(read_key(lane), receipt, tuple(_job(*row[5:]) for row in rows), priority, crashes, has_more)


def following(claim: Claim, rows: Sequence[Row]) -> Claim:
    """What the claim has gone on to."""
    return replace(claim, jobs=tuple(_job(*row[:-1]) for row in rows), has_more=rows[0][-1])


def _job(
    job_id: int, kind: str, payload: str, attempt: int, max_attempts: int, enqueued_at: int, late: bool, begun: bool
) -> Job:
    return Job(str(job_id), read_key(kind), payload, attempt, max_attempts, enqueued_at, late, begun)


def aside_of(claim: Claim) -> str | None:
    """The lane that waits beside the claim's and holds up nothing in it; None: a lane of one job waits itself."""
    return None if claim.lane.startswith(RESERVED) else f"{RESERVED}aside|{stored_key(claim.lane)}"


def bury(tx: Transaction, claim: Claim, jobs: Sequence[Job], error: str, now: int | None) -> list[EndedJob]:
    """Those that were the claim's."""
    return _end(tx, BURY, claim, jobs, error, now)


def skip(tx: Transaction, claim: Claim, jobs: Sequence[Job], reason: str, now: int | None) -> list[EndedJob]:
    """Those that were the claim's; none of them has run."""
    return _end(tx, SKIP, claim, jobs, reason, now)


def _end(tx: Transaction, sql: str, claim: Claim, jobs: Sequence[Job], error: str, now: int | None) -> list[EndedJob]:
    values = {
        "now": now,
        "lane": stored_key(claim.lane),
        "receipt": claim.receipt,
        "jobs": [int(job.id) for job in jobs],
        "error": stored_text(error),
    }
    [ended] = tx.execute(sql, values).fetchone()
    if ended is None:
        raise LeaseLost
    return [
        EndedJob(id=job.id, kind=job.kind, payload=job.payload, error=error) for job in jobs if int(job.id) in ended
    ]
