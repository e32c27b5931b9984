"""Dead letters by what they ended with: so many of one cause are one line, and one button."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from convoq.console.endpoints import Site
from convoq.console.pages import words
from convoq.conversations.queries import Reading
from convoq.queue.base import JobFilter, JobRecord, JobState
from convoq.text import last_line, without_ids

LOOKED_AT: Final = 1000  #: dead letters, the newest


class Cause(NamedTuple):
    """Dead letters of one kind that ended with the same, the newest first."""

    key: str
    kind: str
    error: str
    jobs: Sequence[JobRecord]
    useful: Sequence[str]  #: the ids of those that a retry would bring back
    useless: str  #: why it would not, for one of the others

    @property
    def title(self) -> str:
        return f"{self.kind} came to no end"


async def read_causes(site: Site) -> list[Cause]:
    """The most frequent first."""
    dead = await site.jobs.list(JobFilter(states=(JobState.DEAD,)), limit=LOOKED_AT)
    useless = await Reading(site.database).useless_retries([(job.id, job.kind, job.payload) for job in dead])
    groups: dict[tuple[str, str], list[JobRecord]] = {}
    for job in dead:
        groups.setdefault((job.kind, without_ids(last_line(job.error))), []).append(job)
    found = [
        Cause(
            sha256("\0".join(key).encode()).hexdigest()[:16], key[0], words.one_line(last_line(jobs[0].error)), jobs,
            [job.id for job in jobs if job.id not in useless],
            next((useless[job.id] for job in jobs if job.id in useless), ""),
        )
        for key, jobs in groups.items()
    ]  # fmt: skip
    return sorted(found, key=lambda cause: -len(cause.jobs))
