"""Which jobs an operator means, and what can be done with all of them: a few hundred at a time, each once."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from convoq.queue.base import JobAdmin, JobFilter, JobRecord, JobState, Standing
from convoq.text import last_line, without_ids

BATCH: Final = 500  #: jobs a transaction: the write gate is free for others between two batches


class JobAct(enum.StrEnum):
    """A change that jobs can be put through."""

    RETRY = "retry"
    RUN_NOW = "run-now"
    CANCEL = "cancel"
    DISCARD = "discard"


#: Where each can be applied.
APPLIES_TO: Final[Mapping[JobAct, tuple[Standing, ...]]] = {
    JobAct.RETRY: (Standing.DEAD, Standing.CANCELLED),
    JobAct.RUN_NOW: (Standing.SCHEDULED, Standing.RUNNING),
    JobAct.CANCEL: (Standing.READY, Standing.SCHEDULED),
    JobAct.DISCARD: (Standing.DONE, Standing.DEAD, Standing.CANCELLED),
}
#: What is meant where nobody says in which state.
MEANT: Final[Mapping[JobAct, tuple[Standing, ...]]] = {
    JobAct.RETRY: (Standing.DEAD,),
    JobAct.RUN_NOW: (Standing.SCHEDULED,),
    JobAct.CANCEL: (Standing.READY, Standing.SCHEDULED),
    JobAct.DISCARD: (Standing.DEAD,),
}


FAILING: Final = (JobState.DEAD, JobState.READY, JobState.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSelection:
    """Those of the filter, and of one cause, if one is given: what has ended well has none."""

    where: JobFilter
    cause: str | None = None

    def __post_init__(self) -> None:
        if self.cause is not None and self.where.states is None:
            object.__setattr__(self, "where", replace(self.where, states=FAILING))


def cause_of(job: JobRecord) -> str:
    """The same for jobs of one kind that failed, or wait, of the same: whatever ids stand in what is said of it."""
    text = f"{job.kind}\0{without_ids(said_of(job))}"
    return sha256(text.encode()).hexdigest()[:12]


def said_of(job: JobRecord) -> str:
    """One line: why it waits, or what it failed of."""
    return (job.reason if job.state is JobState.READY and job.reason else None) or last_line(job.error) or job.standing


async def newest(jobs: JobAdmin, chosen: JobSelection, *, limit: int, before: str | None = None) -> list[JobRecord]:
    """A page of a list."""
    if chosen.cause is None:
        return await jobs.list(chosen.where, limit=limit, before=before)
    found: list[JobRecord] = []
    async for page in pages(jobs, chosen, before=before):
        found += page
        if len(found) >= limit:
            break
    return found[:limit]


async def pages(jobs: JobAdmin, chosen: JobSelection, *, before: str | None = None) -> AsyncIterator[list[JobRecord]]:
    """All that are meant now, newest first."""
    while page := await jobs.list(chosen.where, limit=BATCH, before=before):
        before = page[-1].id
        yield page if chosen.cause is None else [job for job in page if cause_of(job) == chosen.cause]


async def count(jobs: JobAdmin, chosen: JobSelection) -> int:
    if chosen.cause is None:
        return await jobs.count(chosen.where)
    return sum([len(page) async for page in pages(jobs, chosen)])


async def all_ids(jobs: JobAdmin, chosen: JobSelection) -> list[str]:
    """Oldest first, so that a lane's order holds."""
    ids = [job.id async for page in pages(jobs, chosen) for job in page]
    return ids[::-1]


async def change(jobs: JobAdmin, act: JobAct, chosen: JobSelection, ids: Sequence[str]) -> int:
    """Those of these that are still as they were chosen; how many were changed. At most BATCH of them."""
    verbs = {
        JobAct.RETRY: jobs.retry_dead, JobAct.RUN_NOW: jobs.run_now, JobAct.CANCEL: jobs.cancel,
        JobAct.DISCARD: jobs.discard,
    }  # fmt: skip
    return await verbs[act](replace(chosen.where, ids=tuple(ids)), limit=BATCH)


def batches(ids: Sequence[str], left_alone: Container[str] = ()) -> list[list[str]]:
    wanted = [job_id for job_id in ids if job_id not in left_alone]
    return [wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH)]
