"""What operators see and do with jobs in the PostgreSQL database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from convoq.db.transaction import Transaction
from convoq.jobs import RESERVED
from convoq.queue.base import EndedJob, JobFilter, JobRecord, JobState, KindStats, Stats
from convoq.queue.postgres.text import read_key, stored_key
from convoq.queue.rules import CLOCK_LAG_MS

# A job runs while the lease of the claim that charged it lives.
CHARGED: Final = "coalesce(j.receipt = l.receipt, false)"
RUNNING: Final = f"({CHARGED} AND l.due_at > :now)"
SCHEDULED: Final = f"coalesce(NOT {RUNNING} AND l.receipt IS NULL AND l.due_at > :now, false)"
# The next run of a schedule that waits until the one before has ended: nothing is wrong with it.
BEHIND_A_CLAIM: Final = "(j.waiting_key IS NOT NULL AND l.receipt IS NOT NULL AND l.due_at > :now)"
STANDING: Final = f"""
    CASE WHEN j.state <> 'ready' THEN j.state WHEN {RUNNING} THEN 'running' WHEN {SCHEDULED} THEN 'scheduled'
    ELSE 'ready' END
"""
WAITING_SINCE: Final = f"""
    CASE WHEN starts_with(j.lane, '{RESERVED}') THEN greatest(j.enqueued_at, l.due_at) ELSE j.enqueued_at END
"""
NOW: Final = "SELECT queue_now(CAST(:now AS bigint))"
RECORDS: Final = f"""
    SELECT j.id, j.lane, j.kind, j.payload, j.state, j.attempt, j.max_attempts, j.priority, j.enqueued_at,
           j.claimed_at, j.finished_at, l.due_at, {RUNNING}, l.worker, j.error, j.dedup_key, l.reason, {SCHEDULED}
    FROM jobs AS j LEFT JOIN lanes AS l ON l.id = j.lane_id AND j.state = 'ready'
"""
DUE: Final = f"NOT {RUNNING} AND (l.receipt IS NOT NULL OR l.due_at <= :now)"
STATS: Final = f"""
    SELECT j.kind, count(*) FILTER (WHERE {DUE}),
           count(*) FILTER (WHERE NOT {RUNNING} AND l.receipt IS NULL AND l.due_at > :now),
           count(*) FILTER (WHERE {RUNNING}),
           min({WAITING_SINCE}) FILTER (WHERE {DUE} AND NOT {BEHIND_A_CLAIM}),
           count(*) FILTER (WHERE j.claimed_at IS NULL), min(j.enqueued_at) FILTER (WHERE j.claimed_at IS NULL)
    FROM jobs AS j JOIN lanes AS l ON l.id = j.lane_id WHERE j.state = 'ready' GROUP BY j.kind
"""
DEAD: Final = "SELECT kind, count(*) FROM jobs WHERE state = 'dead' AND state <> 'ready' GROUP BY kind"
BUSY: Final = """
    SELECT coalesce(l.aside_of, l.lane) FROM lanes AS l
    WHERE (l.lane = ANY (:lanes) OR l.aside_of = ANY (:lanes))
        AND EXISTS (SELECT 1 FROM jobs AS j WHERE j.lane_id = l.id AND j.state = 'ready')
"""
RETRYABLE: Final = "j.state IN ('dead', 'cancelled') AND j.state <> 'ready'"
CANCELLABLE: Final = f"j.state = 'ready' AND NOT {RUNNING}"
DISCARDABLE: Final = "j.state <> 'ready'"
# Whatever the claim of its lane goes back with, it does not wait either.
MOVABLE: Final = f"j.state = 'ready' AND ({SCHEDULED} OR l.receipt IS NOT NULL)"
CHOSEN: Final = """
    SELECT j.id, j.kind, j.payload, j.error
    FROM jobs AS j LEFT JOIN lanes AS l ON l.id = j.lane_id AND j.state = 'ready'
"""
JOBS: Final = "CAST(:jobs AS bigint[])"


def stats(tx: Transaction, manual: int | None) -> Stats:
    now = _now(tx, manual)
    dead = {read_key(kind): number for kind, number in tx.execute(DEAD)}
    kinds = {kind: KindStats(dead=number) for kind, number in dead.items()}
    for stored, ready, scheduled, running, oldest, unstarted, since in tx.execute(STATS, {"now": now}):
        kind = read_key(stored)
        kinds[kind] = KindStats(
            ready=ready,
            scheduled=scheduled,
            running=running,
            dead=dead.get(kind, 0),
            oldest_wait=0.0 if oldest is None else max(0, now - oldest) / 1000,
            unstarted=unstarted,
            unstarted_since=since,
        )
    return Stats(dict(sorted(kinds.items())))


def find(tx: Transaction, where: JobFilter, manual: int | None, limit: int, before: str | None) -> list[JobRecord]:
    """Newest first."""
    condition, values = _condition(tx, where, manual)
    if before is not None:
        condition += " AND j.id < :before"
        values["before"] = _number(before)
    rows = tx.execute(f"{RECORDS} WHERE {condition} ORDER BY j.id DESC LIMIT :limit", {**values, "limit": limit})
    return [_record(row) for row in rows]


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


def _now(tx: Transaction, manual: int | None) -> int:
    [now] = tx.execute(NOW, {"now": manual}).fetchone()
    return int(now)


def _jobs(chosen: Sequence[EndedJob], manual: int | None) -> dict[str, object]:
    return {"jobs": [int(job.id) for job in chosen], "now": manual}


def _choose_held(tx: Transaction, where: JobFilter, also: str, manual: int | None, limit: int) -> list[EndedJob]:
    """Those that still are what is asked for once nobody else can change them."""
    ids = [_number(job_id) for job_id in where.ids or ()]
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
        add("j.id = ANY (CAST(:ids AS bigint[]))", "ids", [_number(job_id) for job_id in where.ids])
    if where.kinds is not None:
        add("j.kind = ANY (CAST(:kinds AS text[]))", "kinds", [stored_key(kind) for kind in where.kinds])
    if where.states is not None:
        add("j.state = ANY (CAST(:states AS text[]))", "states", [str(state) for state in where.states])
        clauses += _index_terms(where.states)
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


def _index_terms(states: Sequence[JobState]) -> list[str]:
    """What makes an index of the few usable where only few can be meant; many are found faster in the order of ids."""
    if set(states) == {JobState.READY}:
        return ["j.state = 'ready'"]
    return [] if {JobState.READY, JobState.DONE} & set(states) else ["j.state <> 'ready'"]


def _number(job_id: str) -> int:
    """Ids are numbers; anything else names no job."""
    return int(job_id) if job_id.isascii() and job_id.isdigit() and len(job_id) < 19 else -1


def _record(row: tuple[Any, ...]) -> JobRecord:
    (job_id, lane, kind, payload, state, attempt, max_attempts, priority, enqueued_at, *rest) = row
    (claimed_at, finished_at, due_at, running, worker, error, dedup_key, reason, scheduled) = rest
    return JobRecord(
        id=str(job_id),
        ordering_key=None if lane.startswith(RESERVED) else read_key(lane),
        kind=read_key(kind),
        payload=payload,
        state=JobState(state),
        attempt=attempt,
        max_attempts=max_attempts,
        priority=priority,
        enqueued_at=enqueued_at,
        claimed_at=claimed_at,
        finished_at=finished_at,
        due_at=due_at,
        running=running,
        worker=worker,
        error=error,
        dedup_key=None if dedup_key is None else read_key(dedup_key),
        reason=reason,
        scheduled=scheduled,
    )
