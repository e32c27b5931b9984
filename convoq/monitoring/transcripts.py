"""What a transcript needs from the queue: the jobs behind its unanswered messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convoq.conversations.states import Outcome

if TYPE_CHECKING:
    from convoq.conversations.queries import Line, Transcript
    from convoq.queue.base import JobAdmin, JobRecord


def is_unanswered(line: Line) -> bool:
    """Whether only its job can tell what becomes of this message."""
    return line.message.direction == "in" and line.message.outcome in (None, Outcome.FAILED, Outcome.CANCELLED)


async def unanswered_jobs(transcript: Transcript, jobs: JobAdmin) -> dict[str, JobRecord]:
    """The jobs of the unanswered messages by their ids; one that was discarded is missing."""
    ids = [line.message.job_id for line in transcript.lines if is_unanswered(line) and line.message.job_id]
    records = [await jobs.get(job_id) for job_id in dict.fromkeys(ids)]
    return {record.id: record for record in records if record is not None}
