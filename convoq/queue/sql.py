"""What the engines in an SQL database ask of their tables alike, and how what they find is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from convoq.jobs import RESERVED
from convoq.queue.base import JobRecord, JobState, KindStats, Stats

# `j` is a job, `l` its lane, :now the queue's time.
# Under the claim that its lane has: it may have begun, also when the lease has run out.
CHARGED: Final = "coalesce(j.receipt = l.receipt, false)"
# A job runs while the lease of the claim that charged it lives.
RUNNING: Final = f"({CHARGED} AND l.due_at > :now)"
SCHEDULED: Final = f"coalesce(NOT {RUNNING} AND l.receipt IS NULL AND l.due_at > :now, false)"
# The next run of a schedule that waits until the one before has ended: nothing is wrong with it.
BEHIND_A_CLAIM: Final = "(j.waiting_key IS NOT NULL AND l.receipt IS NOT NULL AND l.due_at > :now)"
STANDING: Final = f"""
    CASE WHEN j.state <> 'ready' THEN j.state WHEN {RUNNING} THEN 'running' WHEN {SCHEDULED} THEN 'scheduled'
    ELSE 'ready' END
"""

RECORDS: Final = f"""
    SELECT j.id, j.lane, j.kind, j.payload, j.state, j.attempt, j.max_attempts, j.priority, j.enqueued_at,
           j.claimed_at, j.finished_at, l.due_at, {RUNNING}, l.worker, j.error, j.dedup_key, l.reason, {SCHEDULED}
    FROM jobs AS j LEFT JOIN lanes AS l ON l.id = j.lane_id AND j.state = 'ready'
"""
# That they are not ready is said in the words of an index that holds no ready job: SQLite does not conclude it.
DEAD: Final = "SELECT kind, count(*) FROM jobs WHERE state = 'dead' AND state <> 'ready' GROUP BY kind"

# What an operator's verbs are about.
RETRYABLE: Final = "j.state IN ('dead', 'cancelled') AND j.state <> 'ready'"
CANCELLABLE: Final = f"j.state = 'ready' AND NOT {RUNNING}"
DISCARDABLE: Final = "j.state <> 'ready'"
# Whatever the claim of its lane goes back with, it does not wait either.
MOVABLE: Final = f"j.state = 'ready' AND ({SCHEDULED} OR l.receipt IS NOT NULL)"


def index_terms(states: Sequence[JobState]) -> list[str]:
    """What makes an index of the few usable where only few can be meant; many are found faster in the order of ids."""
    if set(states) == {JobState.READY}:
        return ["j.state = 'ready'"]
    return [] if {JobState.READY, JobState.DONE} & set(states) else ["j.state <> 'ready'"]


def number_of(job_id: str) -> int:
    """Ids are numbers; anything else names no job."""
    return int(job_id) if job_id.isascii() and job_id.isdigit() and len(job_id) < 19 else -1


def to_record(row: Sequence[Any], read_key: Callable[[str], str] = str) -> JobRecord:
    """A row of RECORDS; `read_key` undoes what the engine does to texts that it looks up."""
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
        running=bool(running),
        worker=worker,
        error=error,
        dedup_key=None if dedup_key is None else read_key(dedup_key),
        reason=reason,
        scheduled=bool(scheduled),
    )


def to_stats(
    ready: Iterable[Sequence[Any]], dead: Mapping[str, int], now: int, read_key: Callable[[str], str] = str
) -> Stats:
    """Of each kind the row that its ready jobs make, and how many dead ones it has."""
    kinds = {read_key(kind): KindStats(dead=number) for kind, number in dead.items()}
    for stored, waiting, scheduled, running, oldest, unstarted, since in ready:
        kinds[read_key(stored)] = KindStats(
            ready=waiting,
            scheduled=scheduled,
            running=running,
            dead=dead.get(stored, 0),
            oldest_wait=0.0 if oldest is None else max(0, now - oldest) / 1000,
            unstarted=unstarted,
            unstarted_since=since,
        )
    return Stats(dict(sorted(kinds.items())))
