"""What was given up as a message's own fault comes back once it is known that all messages are refused alike."""

from __future__ import annotations

from contextlib import suppress

from convoq.errors import DatabaseUnavailable
from convoq.jobs import ProcessAiResponse
from convoq.logs import log
from convoq.queue.base import JobAdmin, JobFilter, JobRecord, JobState
from convoq.text import without_ids

PAGE = 500  # jobs


async def bring_back(jobs: JobAdmin, refusal: str, *, since: int) -> None:
    """Turns among the dead letters that were refused in the same words, enqueued then or later, are tried again."""
    said = without_ids(refusal)
    with suppress(DatabaseUnavailable):
        dead = [job.id for job in await _dead_turns(jobs, since) if said in without_ids(job.error or "")]
        if dead and (count := await jobs.retry_dead(JobFilter(states=(JobState.DEAD,), ids=tuple(dead)))):
            log.info("ai.refused_before", jobs=count)


async def _dead_turns(jobs: JobAdmin, since: int) -> list[JobRecord]:
    where = JobFilter(states=(JobState.DEAD,), kinds=(ProcessAiResponse.kind,), since=since)
    found = page = await jobs.list(where, limit=PAGE)
    while len(page) == PAGE:
        page = await jobs.list(where, limit=PAGE, before=page[-1].id)
        found = [*found, *page]
    return found
