"""What operators see and do with jobs in the PostgreSQL database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from convoq.db.transaction import Transaction
from convoq.jobs import RESERVED
from convoq.queue.base import EndedJob, JobFilter, JobRecord, Stats
from convoq.queue.postgres.text import read_key, stored_key
from convoq.queue.rules import CLOCK_LAG_MS
from convoq.queue.sql import (
    BEHIND_A_CLAIM,
    CANCELLABLE,
    DEAD,
    DISCARDABLE,
    MOVABLE,
    RECORDS,
    RETRYABLE,
    RUNNING,
    STANDING,
    index_terms,
    number_of,
    to_record,
    to_stats,
)

WAITING_SINCE: Final = f"""
    CASE WHEN starts_with(j.lane, '{RESERVED}') THEN greatest(j.enqueued_at, l.due_at) ELSE j.enqueued_at END
"""
NOW: Final = "SELECT queue_now(CAST(:now AS bigint))"
DUE: Final = f"NOT {RUNNING} AND (l.receipt IS NOT NULL OR l.due_at <= :now)"
STATS: Final = f"""
    SELECT j.kind, count(*) FILTER (WHERE {DUE}),
           count(*) FILTER (WHERE NOT {RUNNING} AND l.receipt IS NULL AND l.due_at > :now),
           count(*) FILTER (WHERE {RUNNING}),
           min({WAITING_SINCE}) FILTER (WHERE {DUE} AND NOT {BEHIND_A_CLAIM}),
           count(*) FILTER (WHERE j.claimed_at IS NULL), min(j.enqueued_at) FILTER (WHERE j.claimed_at IS NULL)
    FROM jobs AS j JOIN lanes AS l ON l.id = j.lane_id WHERE j.state = 'ready' GROUP BY j.kind
"""
BUSY: Final = """
    SELECT coalesce(l.aside_of, l.lane) FROM lanes AS l
    WHERE (l.lane = ANY (:lanes) OR l.aside_of = ANY (:lanes))
        AND EXISTS (SELECT 1 FROM jobs AS j WHERE j.lane_id = l.id AND j.state = 'ready')
"""
CHOSEN: Final = """
    SELECT j.id, j.kind, j.payload, j.error
    FROM jobs AS j LEFT JOIN lanes AS l ON l.id = j.lane_id AND j.state = 'ready'
"""
JOBS: Final = "CAST(:jobs AS bigint[])"
# What is left in them waits for nothing that is erased.
FREE_LANES: Final = f"""
    UPDATE lanes AS l SET due_at = queue_now(CAST(:now AS bigint)), receipt = NULL, worker = NULL, marked = false,
        reason = NULL, kicked = false
    FROM jobs AS j WHERE j.id = ANY ({JOBS}) AND j.finished_at IS NULL AND l.id = j.lane_id
        AND (l.receipt IS NULL OR l.receipt = j.receipt)
"""
# Also where the last job of one has ended just now: the next claim would drop it.
LANES_OF: Final = f"""
    SELECT l.id FROM jobs AS j JOIN lanes AS l ON l.lane = j.lane WHERE j.id = ANY ({JOBS})
    UNION SELECT l.id FROM jobs AS j JOIN lanes AS l ON l.id = j.lane_id WHERE j.id = ANY ({JOBS})
"""
DROP_LANES: Final = """
    DELETE FROM lanes AS l WHERE l.id = ANY (CAST(:lanes AS bigint[]))
        AND NOT EXISTS (SELECT 1 FROM jobs AS j WHERE j.lane_id = l.id AND j.state = 'ready')
"""


def stats(tx: Transaction, manual: int | None) -> Stats:
    now = _now(tx, manual)
    dead = dict(tx.execute(DEAD).fetchall())
    return to_stats(tx.execute(STATS, {"now": now}), dead, now, read_key)


def find(tx: Transaction, where: JobFilter, manual: int | None, limit: int, before: str | None) -> list[JobRecord]:
    """Newest first."""
    condition, values = _condition(tx, where, manual)
    if before is not None:
        condition += " AND j.id < :before"
        values["before"] = number_of(before)
    rows = tx.execute(f"{RECORDS} WHERE {condition} ORDER BY j.id DESC LIMIT :limit", {**values, "limit": limit})
    return [to_record(row, read_key) for row in rows]


def count(tx: Transaction, where: JobFilter, manual: int | None) -> int:
    condition, values = _condition(tx, where, manual)
    lanes = "" if where.standings is None else "LEFT JOIN lanes AS l ON l.id = j.lane_id AND j.state = 'ready'"
    [found] = tx.execute(f"SELECT count(*) FROM jobs AS j {lanes} WHERE {condition}", values).fetchone()
    return int(found)


def busy(tx: Transaction, ordering_keys: Sequence[str]) -> set[str]:
    return {read_key(lane) for (lane,) in tx.execute(BUSY, {"lanes": [stored_key(key) for key in ordering_keys]})}


def narrow(tx: Transaction, where: JobFilter, also: str, manual: int | None, limit: int) -> JobFilter:
    """The filter with the ids of the jobs that it finds: what changes them looks at no others."""
    return replace(where, ids=tuple(job.id for job in _choose(tx, where, also, manual, limit)))


def revive(tx: Transaction, where: JobFilter, manual: int | None, limit: int) -> list[EndedJob]:
    """Dead and cancelled jobs stand in their lane again, in their old place, and it is due."""
    chosen = _choose(tx, where, RETRYABLE, manual, limit)
    [revived] = tx.execute(f"SELECT queue_retry(:now, {JOBS})", _jobs(chosen, manual)).fetchone()
    return [job for job in chosen if int(job.id) in revived]


def run_now(tx: Transaction, where: JobFilter, manual: int | None, limit: int) -> list[EndedJob]:
    """The lanes of jobs that wait for their time are due now, those under a claim at its end."""
    chosen = _choose_held(tx, where, MOVABLE, manual, limit)
    tx.execute(f"SELECT queue_run_now(:now, {JOBS})", _jobs(chosen, manual))
    return chosen


def cancel(tx: Transaction, where: JobFilter, manual: int | None, limit: int) -> list[EndedJob]:
    """Ready jobs that are not running."""
    chosen = _choose_held(tx, where, CANCELLABLE, manual, limit)
    tx.execute(f"SELECT queue_cancel(:now, {JOBS})", _jobs(chosen, manual))
    return chosen


def discard(tx: Transaction, where: JobFilter, manual: int | None, limit: int) -> list[EndedJob]:
    chosen = _choose(tx, where, DISCARDABLE, manual, limit)
    # By finished_at: the index of the finished must not tempt a plan that was made when they were few.
    delete = f"DELETE FROM jobs WHERE id = ANY ({JOBS}) AND finished_at IS NOT NULL RETURNING id"
    deleted = {job_id for (job_id,) in tx.execute(delete, _jobs(chosen, manual))}
    return [job for job in chosen if int(job.id) in deleted]


def erase(tx: Transaction, ids: Sequence[str], manual: int | None) -> int:
    """The lanes of those that run are free for what else stands in them, and their claims are lost."""
    values = {"jobs": [number_of(job_id) for job_id in ids], "now": manual}
    tx.execute(f"SELECT queue_hold_lanes_of({JOBS})", {"jobs": values["jobs"]})
    tx.execute(FREE_LANES, values)
    left = {lane for (lane,) in tx.execute(LANES_OF, values)}
    erased = tx.execute(f"DELETE FROM jobs WHERE id = ANY ({JOBS})", values).rowcount
    tx.execute(DROP_LANES, {"lanes": sorted(left)})
    return erased


def _now(tx: Transaction, manual: int | None) -> int:
    [now] = tx.execute(NOW, {"now": manual}).fetchone()
    return int(now)


def _jobs(chosen: Sequence[EndedJob], manual: int | None) -> dict[str, object]:
    return {"jobs": [int(job.id) for job in chosen], "now": manual}


def _choose_held(tx: Transaction, where: JobFilter, also: str, manual: int | None, limit: int) -> list[EndedJob]:
    """Those that still are what is asked for once they are locked."""
    ids = [number_of(job_id) for job_id in where.ids or ()]
    tx.execute(f"SELECT queue_hold_lanes_of({JOBS})", {"jobs": ids})
    return _choose(tx, where, also, manual, limit)


def _choose(tx: Transaction, where: JobFilter, also: str, manual: int | None, limit: int) -> list[EndedJob]:
    condition, values = _condition(tx, where, manual)
    rows = tx.execute(f"{CHOSEN} WHERE {condition} AND {also} ORDER BY j.id LIMIT :limit", {**values, "limit": limit})
    return [
        EndedJob(id=str(job_id), kind=read_key(kind), payload=payload, error=error)
        for job_id, kind, payload, error in rows
    ]


def _condition(tx: Transaction, where: JobFilter, manual: int | None) -> tuple[str, dict[str, Any]]:
    """What `where` asks for, and its values; the time is among them."""
    clauses = ["true"]
    values: dict[str, Any] = {"now": _now(tx, manual)}

    def add(clause: str, name: str, value: object) -> None:
        clauses.append(clause)
        values[name] = value

    if where.ids is not None:
        add("j.id = ANY (CAST(:ids AS bigint[]))", "ids", [number_of(job_id) for job_id in where.ids])
    if where.kinds is not None:
        add("j.kind = ANY (CAST(:kinds AS text[]))", "kinds", [stored_key(kind) for kind in where.kinds])
    if where.states is not None:
        add("j.state = ANY (CAST(:states AS text[]))", "states", [str(state) for state in where.states])
        clauses += index_terms(where.states)
    if where.standings is not None:
        add(f"{STANDING} = ANY (CAST(:standings AS text[]))", "standings", [str(each) for each in where.standings])
    if where.ordering_key is not None:
        add("j.lane = :lane", "lane", stored_key(where.ordering_key))
    if where.waiting_key is not None:
        add("j.waiting_key = :waiting_key AND j.state = 'ready'", "waiting_key", stored_key(where.waiting_key))
    if where.text is not None:
        add("(strpos(j.payload, :text) > 0 OR strpos(coalesce(j.error, ''), :text) > 0)", "text", where.text)
    if where.since is not None:
        add("j.enqueued_at >= :since AND j.id >= queue_first_id(:since - :lag)", "since", where.since)
        values["lag"] = CLOCK_LAG_MS
    return " AND ".join(clauses), values
