"""What went wrong, by cause: who waits, since when, what brings it back, and whether trying again helps."""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from convoq.channels.twilio.errors import hint, meaning
from convoq.clock import DAY_MS
from convoq.conversations.queries import Reading
from convoq.conversations.unsent import UnsentCause, read_unsent
from convoq.db.store import Store
from convoq.queue.base import JobAdmin, JobFilter, JobRecord, JobState, Standing
from convoq.queue.selecting import JobSelection, cause_of, pages, said_of
from convoq.text import counted, printable

MOST_JOBS: Final = 5000  #: of each sort that are looked at, the newest
EXAMPLES: Final = 5
LONGEST: Final = 300  #: characters of what is said

_CODE: Final = re.compile(r"\(([1-9][0-9]{4})\)")


class Sort(enum.StrEnum):
    DEAD = "dead"  #: dead letters
    HELD = "held"  #: jobs that wait for something to come back
    UNSENT = "unsent"  #: messages that the channel refused, or a rule
    UNDELIVERED = "undelivered"  #: those that it took, and that did not arrive


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Times are ms on the queue's clock."""

    sort: Sort
    cause: str  #: for jobs: what `convoq jobs --cause` takes
    said: str  #: of one of them, in one line
    count: int
    is_capped: bool  #: there are more
    since: int
    newest: int
    people: int  #: whom it concerns
    kind: str | None = None  #: of the jobs
    code: str | None = None  #: of the messages
    jobs: tuple[str, ...] = ()  #: the newest, a few
    conversations: tuple[int, ...] = ()  #: the same
    returns_at: int | None = None  #: when the first of them is tried again by itself
    retry_helps: int = 0  #: how many of them a retry would do something for
    remedy: str = ""


async def read_problems(database: Store, jobs: JobAdmin, *, since: int | None = None) -> list[Problem]:
    """All dead letters and what is held back now; messages from `since` on, else of the last day. The most first."""
    since = database.clock.now() - DAY_MS if since is None else since
    dead = await _newest(jobs, JobFilter(states=(JobState.DEAD,)))
    waiting = await _newest(jobs, JobFilter(states=(JobState.READY,), standings=(Standing.SCHEDULED,)))
    held = [job for job in waiting if job.reason or job.error]
    useless = await Reading(database).useless_retries([(job.id, job.kind, job.payload) for job in dead])
    found = [
        *(_dead(group, useless, is_capped=len(dead) >= MOST_JOBS) for group in _by_cause(dead)),
        *(_held(group, is_capped=len(waiting) >= MOST_JOBS) for group in _by_cause(held)),
        *(_sends(one) for one in await database.read(read_unsent, since)),
    ]
    return sorted(found, key=lambda one: -one.count)


async def _newest(jobs: JobAdmin, where: JobFilter) -> list[JobRecord]:
    found: list[JobRecord] = []
    async for page in pages(jobs, JobSelection(where=where)):
        found += page
        if len(found) >= MOST_JOBS:
            break
    return found[:MOST_JOBS]


def _by_cause(jobs: Iterable[JobRecord]) -> Iterator[Sequence[JobRecord]]:
    groups: dict[str, list[JobRecord]] = {}
    for job in jobs:
        groups.setdefault(cause_of(job), []).append(job)
    yield from groups.values()


def _dead(group: Sequence[JobRecord], useless: dict[str, str], *, is_capped: bool) -> Problem:
    helps = sum(job.id not in useless for job in group)
    cause = cause_of(group[0])
    reasons = Counter(useless[job.id] for job in group if job.id in useless)
    remedy = _remedy(said_of(group[0]), f"convoq jobs retry --cause {cause}")
    if not helps:
        remedy = f"A retry would do nothing: {reasons.most_common(1)[0][0]}"
    ended = [job.finished_at or job.enqueued_at for job in group]
    return _of_jobs(Sort.DEAD, group, ended, remedy=remedy, is_capped=is_capped, retry_helps=helps)


def _held(group: Sequence[JobRecord], *, is_capped: bool) -> Problem:
    due = [job.due_at for job in group if job.due_at is not None]
    remedy = _remedy(said_of(group[0]), f"convoq jobs run-now --cause {cause_of(group[0])}")
    return _of_jobs(
        Sort.HELD, group, [job.claimed_at or job.enqueued_at for job in group], remedy=remedy, is_capped=is_capped,
        returns_at=min(due, default=None), retry_helps=len(group),
    )  # fmt: skip


def _of_jobs(
    sort: Sort, group: Sequence[JobRecord], moments: Sequence[int], *, remedy: str, is_capped: bool, retry_helps: int,
    returns_at: int | None = None,
) -> Problem:  # fmt: skip
    newest = group[0]
    return Problem(
        sort=sort, cause=cause_of(newest), said=printable(said_of(newest))[:LONGEST], count=len(group),
        is_capped=is_capped, since=min(moments), newest=max(moments), people=len({job.ordering_key for job in group}),
        kind=newest.kind, jobs=tuple(job.id for job in group[:EXAMPLES]), returns_at=returns_at,
        retry_helps=retry_helps, remedy=remedy,
    )  # fmt: skip


def _remedy(said: str, then: str) -> str:
    """What is to be mended first, where what is said of it tells; and what brings them back."""
    code = _CODE.search(said)
    first = hint(code[1]) if code is not None and meaning(code[1]) is not None else "Mend what it says"
    return f"{first.rstrip('.')}. Then: {then}"


def _sends(found: UnsentCause) -> Problem:
    sort = Sort.UNDELIVERED if found.delivered_never else Sort.UNSENT
    of_channel = found.code.isdigit()
    said = hint(found.code) if of_channel else found.error or found.code or "the channel says no more"
    remedy = "convoq conversations list --failed shows them, convoq conversations resend sends one again"
    if not of_channel:
        remedy = f"{counted(found.parts, 'message')} of ours stay unsent"
    return Problem(
        sort=sort, cause=f"{sort}:{found.code}", code=found.code or None, said=printable(said)[:LONGEST],
        count=found.parts, is_capped=False, since=found.since, newest=found.newest, people=found.people,
        conversations=found.conversations, remedy=remedy,
    )  # fmt: skip
