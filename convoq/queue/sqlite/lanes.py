"""Lanes in the SQLite file, a transaction a verb: who may run their jobs, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from convoq.db.transaction import Transaction
from convoq.errors import LeaseLost
from convoq.jobs import INTAKE, INTAKE_KIND, PEOPLE, PRIORITIES, RESERVED
from convoq.queue.base import Claim, EndedJob, Job
from convoq.queue.rules import ALONE_FROM_ATTEMPT, CRASHES_FADE_MS, LARGEST_CLAIM
from convoq.queue.sqlite.enqueue import JOIN_LANE


class Holder(NamedTuple):
    """The worker that claims, and what its claims are to be like."""

    worker: str
    receipts: Iterator[str]
    until: int  #: when their leases end
    together: frozenset[str]  #: kinds of which a claim holds more than one job


class Room(NamedTuple):
    """How many lanes a claim may take, and of which classes."""

    limit: int  #: of all classes but INTAKE
    reserve: int  #: of INTAKE
    background: int  #: of the limit, at most so many of classes less urgent than people's
    first: int | None  #: one lane of this class before all others


def claim_due(tx: Transaction, room: Room, now: int, holder: Holder) -> list[Claim]:
    _rejoin_due(tx, now)
    intake = _claim_class(tx, INTAKE, room.reserve, now, holder)
    claims: list[Claim] = []
    background = room.background
    for priority, most in _order(room):
        most = min(most, room.limit - len(claims), room.limit if priority == PEOPLE else background)
        taken = _claim_class(tx, priority, most, now, holder)
        background -= 0 if priority == PEOPLE else len(taken)
        claims += taken
    return intake + claims


def _order(room: Room) -> list[tuple[int, int]]:
    """The classes but INTAKE in the order in which they are served, each with how many of its lanes may be."""
    by_urgency = [(priority, room.limit) for priority in PRIORITIES if priority != INTAKE]
    return by_urgency if room.first is None else [(room.first, 1), *by_urgency]


def _claim_class(tx: Transaction, priority: int, most: int, now: int, holder: Holder) -> list[Claim]:
    if most <= 0:
        return []
    due = tx.execute(DUE_LANES, (now - CRASHES_FADE_MS, priority, now, most)).fetchall()
    claims = [_claim_lane(tx, lane_id, lane, priority, crashes, now, holder) for lane_id, lane, crashes in due]
    return [claim for claim in claims if claim is not None]


def extend(tx: Transaction, claims: Sequence[Claim], until: int) -> list[Claim]:
    return [claim for claim in claims if not _renew(tx, claim, until)]


def ack(tx: Transaction, claim: Claim, now: int, forget: bool) -> None:
    if _drop_lone(tx, claim):
        _finish(tx, claim, now, forget)
    else:
        lane_id, _ = require_lane(tx, claim)
        _finish(tx, claim, now, forget)
        _free_lane(tx, lane_id, now)


def _drop_lone(tx: Transaction, claim: Claim) -> bool:
    """Ends a lane that the claim holds and whose one job it has, as most are, in a single statement."""
    if claim.has_more or len(claim.jobs) > 1:
        return False
    return tx.execute(DROP_LONE, (claim.lane, claim.receipt, int(claim.jobs[0].id))).rowcount == 1


def _finish(tx: Transaction, claim: Claim, now: int, forget: bool) -> None:
    if forget:
        for job in claim.jobs:
            tx.execute(FORGET, (int(job.id), claim.receipt))
    else:
        for job in claim.jobs:
            tx.execute(FINISH, ("done", now, None, int(job.id), claim.receipt))


def advance(tx: Transaction, claim: Claim, now: int, forget: bool, together: frozenset[str]) -> Claim | None:
    lane_id, priority = require_lane(tx, claim)
    _finish(tx, claim, now, forget)
    jobs, has_more = _front(tx, lane_id, together, now)
    # A lane that has become more urgent is not run on in a slot of the class that it had: it is claimed anew.
    if not jobs or priority != claim.priority or not _is_of_class(jobs[0], priority):
        _free_lane(tx, lane_id, now)
        return None
    _charge(tx, jobs, now, claim.receipt)
    return replace(claim, jobs=tuple(jobs), has_more=has_more)


def _is_of_class(job: Job, priority: int) -> bool:
    """What shares a lane of INTAKE is less urgent, and must take none of its slots."""
    return priority != INTAKE or job.kind == INTAKE_KIND


class Return(NamedTuple):
    """How the jobs of a claim go back."""

    due_at: int
    charged: Sequence[Job] = ()  #: those that keep the attempt
    error: str | None = None  #: what they failed with
    reason: str | None = None  #: why the lane waits
    aside: bool = False  #: they wait alone, and not the lane
    unrun: bool = False  #: the claim has begun none, and whether they kill their worker is as open as before


def nack(tx: Transaction, claim: Claim, back: Return, now: int) -> None:
    lane_id, _ = require_lane(tx, claim)
    kept = {job.id for job in back.charged}
    refunded = [job for job in claim.jobs if job.id not in kept]
    tx.executemany(REFUND, [(int(job.id), claim.receipt) for job in refunded])
    if back.unrun:
        tx.executemany(UNBEGIN, [(int(job.id), claim.receipt) for job in refunded if not job.begun])
    if back.error is not None:
        tx.executemany("UPDATE jobs SET error = ? WHERE id = ?", [(back.error, int(job_id)) for job_id in kept])
    if back.aside and not claim.lane.startswith(RESERVED):
        _put_aside(tx, lane_id, claim, back.due_at, back.reason)
        _free_lane(tx, lane_id, now)
    else:
        _free_lane(tx, lane_id, now, back)


def aside_of(ordering_key: str) -> str:
    """The name of the lane that waits beside another one, with the jobs that hold up nothing behind them."""
    return f"{RESERVED}aside|{ordering_key}"


def _put_aside(tx: Transaction, lane_id: int, claim: Claim, due_at: int, reason: str | None) -> None:
    name = aside_of(claim.lane)
    tx.execute(JOIN_ASIDE, (name, claim.lane, claim.priority, due_at, reason))
    tx.execute(MOVE_CLAIMED, (name, lane_id, claim.receipt))


def _rejoin_due(tx: Transaction, now: int) -> None:
    for (lane_id,) in tx.execute(DUE_ASIDE, (now,)).fetchall():
        rejoin(tx, lane_id, now)


def rejoin(tx: Transaction, aside_id: int, now: int) -> None:
    """What was put aside stands in its old place of its lane again: that still runs one claim at a time."""
    query = "SELECT aside_of, priority FROM lanes WHERE id = ? AND aside_of IS NOT NULL"
    for ordering_key, priority in tx.execute(query, (aside_id,)).fetchall():
        tx.execute(JOIN_LANE, (ordering_key, priority, now))
        tx.execute(MOVE_BACK, (ordering_key, aside_id))
        tx.execute("DELETE FROM lanes WHERE id = ?", (aside_id,))


def bury(tx: Transaction, claim: Claim, jobs: Sequence[Job], error: str, now: int) -> list[EndedJob]:
    """Those that were the claim's."""
    return _end(tx, claim, jobs, "dead", error, now)


def skip(tx: Transaction, claim: Claim, jobs: Sequence[Job], reason: str, now: int) -> list[EndedJob]:
    """Those that were the claim's; none of them has run."""
    tx.executemany(REFUND, [(int(job.id), claim.receipt) for job in jobs])
    return _end(tx, claim, jobs, "cancelled", reason, now)


def _end(tx: Transaction, claim: Claim, jobs: Sequence[Job], state: str, error: str, now: int) -> list[EndedJob]:
    lane_id, _ = require_lane(tx, claim)
    ended = [
        EndedJob(id=job.id, kind=job.kind, payload=job.payload, error=error)
        for job in jobs
        if tx.execute(FINISH, (state, now, error, int(job.id), claim.receipt)).rowcount
    ]
    if not _has_unfinished(tx, lane_id, claim):
        _free_lane(tx, lane_id, now)
    return ended


def holders(tx: Transaction) -> set[str]:
    """The workers under whose claims lanes are."""
    return {worker for (worker,) in tx.execute("SELECT DISTINCT worker FROM lanes WHERE receipt IS NOT NULL")}


def free_lanes_of(tx: Transaction, workers: Sequence[str], now: int) -> int:
    since = now - CRASHES_FADE_MS
    return sum(
        tx.execute(FREE_LANES_OF_WORKER, {"now": now, "since": since, "worker": name}).rowcount for name in workers
    )


DUE_LANES = """
    SELECT id, lane, iif(crashed_at > ?, crashes, 0) FROM lanes WHERE priority = ? AND due_at <= ?
    ORDER BY due_at LIMIT ?
"""
DUE_ASIDE = "SELECT id FROM lanes WHERE aside_of IS NOT NULL AND due_at <= ?"
JOIN_ASIDE = """
    INSERT INTO lanes (lane, aside_of, priority, due_at, reason) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (lane) DO UPDATE SET due_at = min(due_at, excluded.due_at)
"""
MOVE_CLAIMED = """
    UPDATE jobs SET lane_id = (SELECT id FROM lanes WHERE lane = ?)
    WHERE lane_id = ? AND state = 'ready' AND receipt = ?
"""
MOVE_BACK = """
    UPDATE jobs SET lane_id = (SELECT id FROM lanes WHERE lane = ?) WHERE lane_id = ? AND state = 'ready'
"""
HELD = "SELECT id, priority FROM lanes WHERE lane = ? AND receipt = ?"
# Under a claim its due_at is the lease: the claim's end makes it due instead.
KICK = """
    UPDATE lanes SET kicked = receipt IS NOT NULL, due_at = iif(receipt IS NULL, ?, due_at), reason = NULL
    WHERE lane = ?
"""
TAKE_CLASS = "UPDATE lanes SET priority = (SELECT priority FROM jobs WHERE id = ?) WHERE id = ?"
DROP_LANE = """
    DELETE FROM lanes WHERE id = ? AND NOT EXISTS (SELECT 1 FROM jobs WHERE lane_id = lanes.id AND state = 'ready')
"""
DROP_LONE = """
    DELETE FROM lanes WHERE lane = ? AND receipt = ? AND NOT EXISTS
        (SELECT 1 FROM jobs WHERE lane_id = lanes.id AND state = 'ready' AND id <> ?)
"""
FREE_LANE = """
    UPDATE lanes SET due_at = iif(kicked, :now, :due_at), reason = iif(kicked, NULL, :reason),
        receipt = NULL, worker = NULL, kicked = 0, crashes = iif(:unrun, crashes, 0)
    WHERE id = :lane
"""
FREE_LANES_OF_WORKER = """
    UPDATE lanes SET due_at = min(due_at, :now), receipt = NULL, worker = NULL, kicked = 0,
        crashes = iif(crashed_at > :since, crashes, 0) + 1, crashed_at = :now
    WHERE worker = :worker AND receipt IS NOT NULL
"""
FRONT = """
    SELECT id, kind, payload, attempt, max_attempts, enqueued_at, claimed_at IS NULL AND start_by < ?,
           claimed_at IS NOT NULL
    FROM jobs WHERE lane_id = ? AND state = 'ready' ORDER BY id LIMIT ?
"""
CHARGE = "UPDATE jobs SET attempt = attempt + 1, claimed_at = ?, receipt = ? WHERE id = ?"
REFUND = "UPDATE jobs SET attempt = attempt - 1 WHERE id = ? AND state = 'ready' AND receipt = ?"
UNBEGIN = "UPDATE jobs SET claimed_at = NULL WHERE id = ? AND state = 'ready' AND receipt = ?"
FORGET = "DELETE FROM jobs WHERE id = ? AND state = 'ready' AND receipt = ?"
FINISH = """
    UPDATE jobs SET state = ?, finished_at = ?, error = coalesce(?, error)
    WHERE id = ? AND state = 'ready' AND receipt = ?
"""


def _claim_lane(
    tx: Transaction, lane_id: int, lane: str, priority: int, crashes: int, now: int, holder: Holder
) -> Claim | None:
    jobs, has_more = _front(tx, lane_id, holder.together, now)
    if not jobs:
        tx.execute("DELETE FROM lanes WHERE id = ?", (lane_id,))
        return None
    if not _is_of_class(jobs[0], priority):
        tx.execute(TAKE_CLASS, (int(jobs[0].id), lane_id))
        return None
    receipt = next(holder.receipts)
    tx.execute(
        "UPDATE lanes SET due_at = ?, reason = NULL, receipt = ?, worker = ?, kicked = 0 WHERE id = ?",
        (holder.until, receipt, holder.worker, lane_id),
    )
    _charge(tx, jobs, now, receipt)
    return Claim(lane, receipt, tuple(jobs), priority, crashes, has_more)


def _front(tx: Transaction, lane_id: int, together: frozenset[str], now: int) -> tuple[list[Job], bool]:
    """The ready jobs at the lane's front for one claim, as they will be once charged, and whether more stand there."""
    jobs: list[Job] = []
    for row in tx.execute(FRONT, (now, lane_id, LARGEST_CLAIM + 1)):
        job = Job(str(row[0]), row[1], row[2], row[3] + 1, row[4], row[5], row[6] == 1, row[7] == 1)
        if jobs and not _goes_with(job, jobs, together):
            return jobs, True
        jobs.append(job)
    return jobs, False


def _goes_with(job: Job, jobs: Sequence[Job], together: frozenset[str]) -> bool:
    """Whether one claim may hold it as well."""
    return (
        job.kind in together
        and job.kind == jobs[0].kind
        and max(job.attempt, jobs[-1].attempt) < ALONE_FROM_ATTEMPT
        and len(jobs) < LARGEST_CLAIM
    )


def _charge(tx: Transaction, jobs: Iterable[Job], now: int, receipt: str) -> None:
    for job in jobs:
        # Not begun while it is late: should this worker die before it has skipped the job, the next one must.
        tx.execute(CHARGE, (None if job.late else now, receipt, int(job.id)))


def require_lane(tx: Transaction, claim: Claim) -> tuple[int, int]:
    """The id and the class of the lane that the claim still holds."""
    held: tuple[int, int] | None = tx.execute(HELD, (claim.lane, claim.receipt)).fetchone()
    if held is None:
        raise LeaseLost
    return held


def _renew(tx: Transaction, claim: Claim, until: int) -> bool:
    renewed = tx.execute(
        "UPDATE lanes SET due_at = ? WHERE lane = ? AND receipt = ?", (until, claim.lane, claim.receipt)
    )
    return renewed.rowcount == 1


def _has_unfinished(tx: Transaction, lane_id: int, claim: Claim) -> bool:
    rows = tx.execute(
        "SELECT 1 FROM jobs WHERE lane_id = ? AND state = 'ready' AND receipt = ? LIMIT 1", (lane_id, claim.receipt)
    )
    return rows.fetchone() is not None


def _free_lane(tx: Transaction, lane_id: int, now: int, back: Return | None = None) -> None:
    """Ends the lane's claim. If jobs remain it is due now, or when what goes `back` is; else it goes."""
    if not tx.execute(DROP_LANE, (lane_id,)).rowcount:
        back = back or Return(now)
        values = {"now": now, "due_at": back.due_at, "reason": back.reason, "unrun": back.unrun, "lane": lane_id}
        tx.execute(FREE_LANE, values)


def next_due(tx: Transaction, classes: Sequence[int]) -> int | None:
    """The earliest due_at of their lanes: one index look-up for each class."""
    found = [
        tx.execute("SELECT min(due_at) FROM lanes WHERE priority = ?", (priority,)).fetchone()[0]
        for priority in classes
    ]
    return min((due_at for due_at in found if due_at is not None), default=None)
