"""Reads one phone's conversation out of the database, with the time of every step."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

from convoq.conversations.timeline import OutboundPart, Timeline
from convoq.db import Database
from convoq.jobs import ProcessAiResponse
from convoq.queue.base import JobAdmin, JobFilter, JobRecord

LIMIT: Final = 60  # messages of a phone that are shown


@dataclass(slots=True, kw_only=True)
class InboundStep:
    """A message that the person wrote. Times are ms on the queue's clock; None: not yet."""

    sid: str
    text: str
    received_at: int
    claimed_at: int | None
    attempt: int
    running: bool
    due_at: int | None  #: when its lane is due, while it waits
    job_state: str
    error: str | None  #: of its latest failed attempt
    outcome: str | None = None
    answered_by: int | None = None
    drafted_at: int | None = None
    latest_at: int = 0  #: when the latest message of its thread came


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation, oldest first."""

    inbound: list[InboundStep] = field(default_factory=list)
    outbound: list[OutboundPart] = field(default_factory=list)


async def read_thread(database: Database, jobs: JobAdmin, lane: str) -> Thread:
    """The jobs first: what is recorded meanwhile is then told as recorded."""
    where = JobFilter(ordering_key=lane, kinds=(ProcessAiResponse.kind,))
    inbound = {step.sid: step for step in map(_inbound_step, reversed(await jobs.list(where, limit=LIMIT)))}
    recorded, outbound = await Timeline(database).thread(lane, limit=LIMIT)
    for message in recorded:
        known = inbound.get(message.source.rpartition(":")[2])
        if known is not None:
            known.outcome, known.answered_by = message.outcome, message.answered_by
            known.drafted_at = message.drafted_at
    latest_at = max((one.received_at for one in inbound.values()), default=0)
    for one in inbound.values():
        one.latest_at = latest_at
    return Thread(sorted(inbound.values(), key=lambda one: one.received_at), outbound)


def _inbound_step(job: JobRecord) -> InboundStep:
    form = dict(json.loads(job.payload)["form"])
    return InboundStep(
        sid=form["MessageSid"], text=form.get("Body", ""), received_at=job.enqueued_at, claimed_at=job.claimed_at,
        attempt=job.attempt, running=job.running, due_at=job.due_at, job_state=job.state, error=job.error,
    )  # fmt: skip
