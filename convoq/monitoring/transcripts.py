"""What a transcript needs from the queue: the jobs behind its unanswered messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convoq.conversations.states import Outcome
from convoq.jobs import ProcessAiResponse
from convoq.queue.base import JobFilter, JobState

if TYPE_CHECKING:
    from convoq.conversations.queries import Line, Transcript
    from convoq.queue.base import JobAdmin, JobRecord


def is_unanswered(line: Line) -> bool:
    """Whether only its job can tell what becomes of this message."""
    return line.message.direction == "in" and line.message.outcome in (None, Outcome.FAILED, Outcome.CANCELLED)


async def unanswered_jobs(transcript: Transcript, jobs: JobAdmin) -> dict[int, JobRecord]:
    """By the ids of the unanswered messages: the turn that is to answer them, or the job whose end was theirs."""
    messages = [line.message for line in transcript.lines if is_unanswered(line)]
    waits = JobFilter(
        ordering_key=transcript.conversation.lane, kinds=(ProcessAiResponse.kind,), states=(JobState.READY,)
    )
    turn = next(iter(await jobs.list(waits, limit=1)), None)
    ended = {job_id: await jobs.get(job_id) for job_id in dict.fromkeys(m.ended_by for m in messages) if job_id}
    found = {m.id: turn if m.outcome is None else ended.get(m.ended_by or "") for m in messages}
    return {message_id: job for message_id, job in found.items() if job is not None}
