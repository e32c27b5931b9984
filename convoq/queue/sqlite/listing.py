"""What operators see and do with jobs in the SQLite file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from convoq.db.transaction import Transaction
from convoq.jobs import RESERVED
from convoq.queue.base import EndedJob, JobFilter, JobRecord, JobState, Stats
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
from convoq.queue.sqlite import lanes
from convoq.queue.sqlite.enqueue import JOIN_LANE

WAITING_SINCE = f"CASE WHEN j.lane LIKE '{RESERVED}%' THEN max(j.enqueued_at, l.due_at) ELSE j.enqueued_at END"

STATS = f"""
    SELECT j.kind,
           sum(NOT {RUNNING} AND (l.receipt IS NOT NULL OR l.due_at <= :now)),
           sum(NOT {RUNNING} AND l.receipt IS NULL AND l.due_at > :now),
           sum({RUNNING}),
           min(CASE WHEN NOT {RUNNING} AND NOT {BEHIND_A_CLAIM} AND (l.receipt IS NOT NULL OR l.due_at <= :now)
               THEN {WAITING_SINCE} END),
           sum(j.claimed_at IS NULL), min(CASE WHEN j.claimed_at IS NULL THEN j.enqueued_at END)
    FROM jobs AS j JOIN lanes AS l ON l.id = j.lane_id WHERE j.state = 'ready' GROUP BY j.kind
"""
ANY_ID = range((1 << 63) - 1)
FROM_ID = "SELECT id, enqueued_at FROM jobs WHERE id >= ? ORDER BY id LIMIT 1"
LONGEST_PATTERN = 10_000  # characters: SQLite takes 50,000 bytes, and a bracket may stand around each
WILDCARD = re.compile(r"[*?\[]")
# The lane waits for what the job at its front has been put back with.
END_WAIT_OF_FRONT = """
    UPDATE lanes SET due_at = min(due_at, :now), reason = NULL
    WHERE id = :lane_id AND receipt IS NULL AND aside_of IS NULL
        AND NOT EXISTS (SELECT 1 FROM jobs WHERE lane_id = lanes.id AND state = 'ready' AND id < :id)
"""


def stats(tx: Transaction, now: int) -> Stats:
    return to_stats(tx.execute(STATS, {"now": now}), dict(tx.execute(DEAD).fetchall()), now)


def find(tx: Transaction, where: JobFilter, now: int, limit: int, ids: range = ANY_ID) -> list[JobRecord]:
    """Newest first."""
    condition, values = _bounded(tx, where, ids)
    records = f"{RECORDS} WHERE {condition} ORDER BY j.id DESC LIMIT :limit"
    with _mapped(tx, where):
        return [to_record(row) for row in tx.execute(records, {**values, "now": now, "limit": limit})]


def halves(tx: Transaction, where: JobFilter, ids: range) -> tuple[range, range]:
    """The older jobs and the newer ones of those that a search for a text has to read."""
    low, high = tx.execute("SELECT (SELECT min(id) FROM jobs), (SELECT max(id) FROM jobs)").fetchone()
    low = low or 0 if where.since is None else _first_id(tx, where.since - CLOCK_LAG_MS)
    middle = (low + min(high or 0, ids.stop)) // 2
    return range(ids.start, middle), range(middle, ids.stop)


def below(job_id: str | None) -> range:
    return ANY_ID if job_id is None else range(number_of(job_id))


def count(tx: Transaction, where: JobFilter, now: int, ids: range = ANY_ID) -> int:
    condition, values = _bounded(tx, where, ids)
    lanes = "" if where.standings is None else "LEFT JOIN lanes AS l ON l.id = j.lane_id"
    with _mapped(tx, where):
        found = tx.execute(f"SELECT count(*) FROM jobs AS j {lanes} WHERE {condition}", {**values, "now": now})
        return int(found.fetchone()[0])


def busy(tx: Transaction, ordering_keys: Sequence[str]) -> set[str]:
    """A lane is there as long as a job of it is ready."""
    there = "SELECT 1 FROM lanes WHERE lane IN (?, ?)"
    return {key for key in ordering_keys if tx.execute(there, (key, lanes.aside_of(key))).fetchone() is not None}


def narrow(tx: Transaction, where: JobFilter, also: str, limit: int, now: int) -> JobFilter:
    """The filter with the ids of the jobs that it finds, so that the transaction that changes them searches nothing."""
    return replace(where, ids=tuple(job.ended.id for job in _choose(tx, where, also, limit, now)))


def revive(tx: Transaction, where: JobFilter, now: int, limit: int) -> list[EndedJob]:
    """Dead and cancelled jobs stand in their lane again, in their old place, and it is due."""
    chosen = _choose(tx, where, RETRYABLE, limit)
    for job in chosen:
        tx.execute(JOIN_LANE, (job.lane, job.priority, now))
        tx.execute(lanes.KICK, (now, job.lane))
        tx.execute(
            """UPDATE jobs SET state = 'ready', attempt = 0, finished_at = NULL, claimed_at = NULL, receipt = NULL,
               start_by = NULL, waiting_key = NULL,
               lane_id = (SELECT id FROM lanes WHERE lanes.lane = jobs.lane) WHERE id = ?""",
            (int(job.ended.id),),
        )
    return [job.ended for job in chosen]


def run_now(tx: Transaction, where: JobFilter, now: int, limit: int) -> list[EndedJob]:
    """The lanes of jobs that wait for their time are due now, those under a claim at its end."""
    chosen = _choose(tx, where, MOVABLE, limit, now)
    for lane, lane_id in dict.fromkeys((job.lane, job.lane_id) for job in chosen):
        lanes.rejoin(tx, lane_id, now)
        tx.execute(lanes.KICK, (now, lane))
    return [job.ended for job in chosen]


def cancel(tx: Transaction, where: JobFilter, now: int, limit: int) -> list[EndedJob]:
    """Ready jobs that are not running; a lane left without jobs goes."""
    chosen = _choose(tx, where, CANCELLABLE, limit, now)
    for job in chosen:
        tx.execute("UPDATE jobs SET state = 'cancelled', finished_at = ? WHERE id = ?", (now, int(job.ended.id)))
        tx.execute(
            """DELETE FROM lanes WHERE id = :lane_id AND receipt IS NULL
               AND NOT EXISTS (SELECT 1 FROM jobs WHERE lane_id = lanes.id AND state = 'ready')""",
            {"lane_id": job.lane_id},
        )
        tx.execute(END_WAIT_OF_FRONT, {"lane_id": job.lane_id, "id": int(job.ended.id), "now": now})
    return [job.ended for job in chosen]


def discard(tx: Transaction, where: JobFilter, limit: int) -> list[EndedJob]:
    ended = [job.ended for job in _choose(tx, where, DISCARDABLE, limit)]
    tx.executemany("DELETE FROM jobs WHERE id = ?", [(int(job.id),) for job in ended])
    return ended


def prune(tx: Transaction, ended_before: int, limit: int) -> int:
    """Done and cancelled jobs; dead letters stay until they are discarded."""
    deleted = 0
    for state in (JobState.DONE, JobState.CANCELLED):
        deleted += tx.execute(
            """DELETE FROM jobs WHERE id IN
               (SELECT id FROM jobs WHERE state = ? AND state <> 'ready' AND finished_at < ? LIMIT ?)""",
            (state, ended_before, limit - deleted),
        ).rowcount
    return deleted


class _Chosen(NamedTuple):
    """A job that an operator's verb is about."""

    ended: EndedJob
    lane: str
    lane_id: int
    priority: int


def _choose(tx: Transaction, where: JobFilter, also: str, limit: int, now: int = 0) -> list[_Chosen]:
    condition, values = _bounded(tx, where)
    rows = tx.execute(
        f"""SELECT j.id, j.kind, j.payload, j.error, j.lane, j.lane_id, j.priority
            FROM jobs AS j LEFT JOIN lanes AS l ON l.id = j.lane_id
            WHERE {condition} AND {also} ORDER BY j.id LIMIT :limit""",
        {**values, "now": now, "limit": limit},
    )
    return [
        _Chosen(EndedJob(id=str(job_id), kind=kind, payload=payload, error=error), *lane)
        for job_id, kind, payload, error, *lane in rows
    ]


def _bounded(tx: Transaction, where: JobFilter, ids: range = ANY_ID) -> tuple[str, dict[str, object]]:
    """The condition, and where the walk through the many may begin; few are found by an index of their own."""
    condition, values = _condition(where)
    if ids != ANY_ID:
        condition += " AND j.id >= :low AND j.id < :high"
        values |= {"low": ids.start, "high": ids.stop}
    if where.since is not None and where.ids is None and not index_terms(where.states or tuple(JobState)):
        condition += " AND j.id >= :first"
        values["first"] = _first_id(tx, where.since - CLOCK_LAG_MS)
    return condition, values


def _first_id(tx: Transaction, since: int) -> int:
    """Of the jobs enqueued then or later: ids are in the order of time, but for who waited long at the write gate."""
    low, high = tx.execute("SELECT (SELECT min(id) FROM jobs), (SELECT max(id) FROM jobs) + 1").fetchone()
    if low is None:
        return 0
    while low < high:
        middle = (low + high) // 2
        found = tx.execute(FROM_ID, (middle,)).fetchone()
        if found is None or found[1] >= since:
            high = middle
        else:
            low = found[0] + 1
    return int(low)


def _condition(where: JobFilter) -> tuple[str, dict[str, object]]:
    clauses = ["1"]
    values: dict[str, object] = {}

    def among(column: str, wanted: Sequence[object]) -> None:
        names = [f"{column}{index}" for index in range(len(wanted))]
        clauses.append(f"j.{column} IN ({', '.join(':' + name for name in names)})")
        values.update(zip(names, wanted, strict=True))

    if where.ids is not None:
        among("id", [number_of(job_id) for job_id in where.ids])
    if where.kinds is not None:
        among("kind", where.kinds)
    if where.states is not None:
        among("state", where.states)
        clauses += index_terms(where.states)
    if where.standings is not None:
        clauses.append(f"{STANDING} IN ({', '.join(repr(str(standing)) for standing in where.standings)})")
    if where.since is not None:
        clauses.append("j.enqueued_at >= :since")
        values["since"] = where.since
    if where.ordering_key is not None:
        clauses.append("j.lane = :lane")
        values["lane"] = where.ordering_key
    if where.waiting_key is not None:
        clauses.append("j.waiting_key = :waiting_key AND j.state = 'ready'")
        values["waiting_key"] = where.waiting_key
    if where.text is not None:
        contains, values["text"] = _containing(where.text)
        clauses.append(f"({contains.format('j.payload')} OR {contains.format('j.error')})")
    return " AND ".join(clauses), values


def _containing(text: str) -> tuple[str, str]:
    """A condition on a column, and what it is compared with. GLOB is twice as fast as instr()."""
    if len(text) > LONGEST_PATTERN:
        return "instr({}, :text)", text
    as_it_stands = WILDCARD.sub(r"[\g<0>]", text)
    return "{} GLOB :text", f"*{as_it_stands}*"


@contextmanager
def _mapped(tx: Transaction, where: JobFilter) -> Iterator[None]:
    """A text is looked for in every payload: without the file in memory, most of the time goes to reading its pages."""
    if where.text is None:
        yield
        return
    tx.execute(f"PRAGMA mmap_size = {1 << 40}")
    try:
        yield
    finally:
        tx.execute("PRAGMA mmap_size = 0")
