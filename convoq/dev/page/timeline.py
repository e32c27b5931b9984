"""Reads one phone's conversation out of the database, with the time of every step."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

from convoq.channels.twilio.inbound import parse_inbound
from convoq.conversations.timeline import OutboundPart, RecordedMessage, Timeline
from convoq.db.store import Store
from convoq.jobs import ProcessAiResponse, ReceiveMessage
from convoq.loopback.people import Phone
from convoq.notes import notes_in
from convoq.queue.base import JobAdmin, JobFilter, JobRecord, JobState

LIMIT: Final = 60  # messages of a phone that are shown


@dataclass(slots=True, kw_only=True)
class InboundStep:
    """A message that the person wrote. Times are ms on the queue's clock; None: not yet."""

    sid: str
    text: str
    notes: tuple[str, ...]  #: what it is besides its text, in the words that the model reads
    received_at: int
    recorded_at: int | None  #: when it was claimed, to be recorded
    turn_at: int | None = None  #: when the turn that is to answer it was claimed last
    tries: int = 0  #: turns that were begun for it
    running: bool = False  #: its thread's turn is
    due_at: int | None = None  #: when that is due, while it waits
    error: str | None  #: of its latest failed turn, or why it was given up
    outcome: str | None = None
    answered_by: int | None = None
    drafted_at: int | None = None
    latest_at: int = 0  #: when the latest message of its thread came


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation, oldest first."""

    inbound: list[InboundStep] = field(default_factory=list)
    outbound: list[OutboundPart] = field(default_factory=list)


async def read_thread(database: Store, jobs: JobAdmin, phone: Phone) -> Thread:
    """The jobs first: what is recorded meanwhile is then told as recorded."""
    where = JobFilter(ordering_key=phone.receive_lane, kinds=(ReceiveMessage.kind,))
    inbound = {step.sid: step for step in map(_inbound_step, reversed(await jobs.list(where, limit=LIMIT)))}
    where = JobFilter(ordering_key=phone.turn_lane, kinds=(ProcessAiResponse.kind,), states=(JobState.READY,))
    turn = next(iter(await jobs.list(where, limit=1)), None)
    recorded, outbound = await Timeline(database).thread(phone.turn_lane, limit=LIMIT)
    for message in recorded:
        known = inbound.get(message.source.rpartition(":")[2])
        if known is not None:
            _add_record(known, message, turn)
    latest_at = max((one.received_at for one in inbound.values()), default=0)
    for one in inbound.values():
        one.latest_at = latest_at
    return Thread(sorted(inbound.values(), key=lambda one: one.received_at), outbound)


def _inbound_step(job: JobRecord) -> InboundStep:
    message = parse_inbound(json.loads(job.payload)["form"])
    return InboundStep(
        sid=message.provider_id,
        text=message.text,
        notes=notes_in(message.description, message.text),
        received_at=job.enqueued_at,
        recorded_at=job.claimed_at,
        error=job.error,
        outcome="failed" if job.state is JobState.DEAD else None,
    )


def _add_record(step: InboundStep, message: RecordedMessage, turn: JobRecord | None) -> None:
    step.tries = message.tries
    step.outcome, step.answered_by, step.error = message.outcome, message.answered_by, message.reason
    # A later draft of the conversation passed by a message that got no answer.
    step.drafted_at = message.drafted_at if message.answered_by is not None else None
    if turn is not None and message.outcome is None:
        step.turn_at, step.running, step.due_at = turn.claimed_at, turn.running, turn.due_at
        step.error = turn.error if message.failures else None
