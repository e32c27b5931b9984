"""receive_message: what a person wrote is recorded, STOP is obeyed, a turn is enqueued. No network, no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from convoq.channels.base import Channel
from convoq.conversations.recording import Received, Recorder
from convoq.conversations.threads import Thread
from convoq.db.transaction import Transaction
from convoq.handlers.base import ClaimContext, channel_of
from convoq.jobs import ReceiveMessage, turn_job
from convoq.queue.base import Joined


class ReceiveHandler:
    """Records all messages of a claim, enqueues the turns and acks, in one transaction."""

    def __init__(self, recorder: Recorder, channels: Mapping[str, Channel], queue: Joined) -> None:
        self._recorder = recorder
        self._channels = channels
        self._queue = queue

    async def __call__(self, context: ClaimContext) -> None:
        received = self._read(context)

        def wake(tx: Transaction, threads: Sequence[Thread]) -> bool:
            enqueue_turns(self._queue, tx, threads)
            return self._queue.ack(tx, context.claim, forget=False)

        acked = await self._recorder.record(received, wake)
        self._queue.wake()
        if acked:
            context.acknowledged()

    def _read(self, context: ClaimContext) -> list[Received]:
        received = []
        for job in context.claim.jobs:
            context.running = (job,)  # one that holds no message takes no neighbour with it
            payload = ReceiveMessage.model_validate_json(job.payload)
            channel = channel_of(self._channels, payload.channel)
            received.append(Received(channel.parse_inbound(payload.form), job.id, job.enqueued_at))
        context.running = context.claim.jobs
        return received


def enqueue_turns(queue: Joined, tx: Transaction, threads: Sequence[Thread]) -> int:
    """One for each that has none; at once where a turn backs off that what came since need not wait for.

    How many had none.
    """
    added = 0
    for thread in threads:
        added += queue.enqueue(tx, turn_job(thread.id, thread.lane))
        if thread.failing:
            queue.kick(tx, thread.lane)
    return added
