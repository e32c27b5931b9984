"""receive_message: what a person wrote is recorded, STOP is obeyed, a turn is enqueued. No network, no model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from convoq.channels.base import Channel, Inbound
from convoq.conversations.phone_commands import Answered
from convoq.conversations.recording import Received, Recorded, Recorder
from convoq.conversations.threads import Thread
from convoq.db.transaction import Transaction
from convoq.handlers.base import ClaimContext, channel_of
from convoq.handlers.tasks import ended
from convoq.jobs import PEOPLE, AnswerOperator, NewJob, ReceiveMessage, turn_job
from convoq.logs import log
from convoq.queue.following import BeginFollowUps, FollowUps

ANSWER_ATTEMPTS: Final = 5


class ReceiveHandler:
    """Records all messages of a claim, enqueues the turns and acks, in one transaction.

    With a queue elsewhere the record is on disk before a turn is enqueued, and the job is acked when both are done.
    """

    def __init__(self, recorder: Recorder, channels: Mapping[str, Channel], begin: BeginFollowUps) -> None:
        self._recorder = recorder
        self._channels = channels
        self._begin = begin

    async def __call__(self, context: ClaimContext) -> None:
        received, follow_ups = self._read(context), self._begin()
        recording = self._record(context, received, follow_ups)
        if follow_ups.is_shared:  # all or nothing
            await recording
            return
        whole = asyncio.ensure_future(recording)
        try:
            await asyncio.shield(whole)
        except asyncio.CancelledError:
            # A claim that is lost is not repeated where its job is gone, too: what was recorded gets its turn first.
            await ended(whole)
            raise

    async def _record(self, context: ClaimContext, received: Sequence[Received], follow_ups: FollowUps) -> None:

        def wake(tx: Transaction, recorded: Recorded) -> bool:
            enqueue_turns(follow_ups, tx, recorded.threads)
            for inbound, answered in recorded.answered:
                follow_ups.enqueue(tx, _answer_job(inbound, answered))
            # Kept, the job would hold an operator's words to a customer, whose erasure could not know it, or what an
            # erasure that is over has not seen.
            context.forget = bool(recorded.answered) or recorded.of_erased
            return follow_ups.ack(tx, context.claim, forget=context.forget)

        acked, ours = await self._recorder.record(received, wake, durable=not follow_ups.is_shared)
        await follow_ups.send()
        for inbound in ours:
            log.warning("message.from_ourselves", our_address=inbound.our_address, address=inbound.address)
        if acked:
            context.acknowledged()

    def _read(self, context: ClaimContext) -> list[Received]:
        received = []
        for job in context.claim.jobs:
            context.running = (job,)  # one that holds no message takes no neighbour with it
            payload = ReceiveMessage.model_validate_json(job.payload)
            channel = channel_of(self._channels, payload.channel)
            inbound = channel.parse_inbound(payload.form)
            received.append(Received(inbound, job.id, job.enqueued_at, payload.written_at, bool(payload.answered)))
        context.running = context.claim.jobs
        return received


def _answer_job(inbound: Inbound, answered: Answered) -> NewJob:
    return AnswerOperator(
        channel=inbound.channel, our_address=inbound.our_address, address=inbound.address, text=answered.text,
        shows=answered.shows,
    ).job(priority=PEOPLE, max_attempts=ANSWER_ATTEMPTS)  # fmt: skip


class TurnQueue(Protocol):
    """What a transaction of the store's enqueues turns with."""

    def enqueue(self, tx: Transaction, job: NewJob) -> bool: ...

    def kick(self, tx: Transaction, ordering_key: str) -> None: ...


def enqueue_turns(queue: TurnQueue, tx: Transaction, threads: Sequence[Thread]) -> int:
    """One for each that has none; at once where a turn backs off that what came since need not wait for.

    How many had none.
    """
    added = 0
    for thread in threads:
        added += queue.enqueue(tx, turn_job(thread.id, thread.lane))
        if thread.failing:
            queue.kick(tx, thread.lane)
    return added
