"""Sends what stands in the outbox: in order, each part once, looking before anything is sent a second time."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Mapping
from datetime import timedelta
from functools import partial

from convoq.breaker import SEVERAL, Breaker, Breakers
from convoq.channels.base import Channel, Failure, Outbound, SendFailed, UsedTemplate
from convoq.clock import EARLIEST, OUTAGE_PATIENCE, Clock
from convoq.conversations.outbox import Announcement, Outbox
from convoq.conversations.pacing import Airtime, Held, Paced
from convoq.conversations.records import Conversation, OutboxRow
from convoq.conversations.resending import Resending
from convoq.conversations.rules import WINDOW, Refusal
from convoq.db.transaction import Transaction
from convoq.errors import Fenced, RetryLater, Snooze, Unrecoverable
from convoq.handlers.base import ClaimContext, Handler, channel_of, each
from convoq.handlers.receive import enqueue_turns
from convoq.jobs import MOST_ATTEMPTS, RecordDeliveryStatus, SendAgain, SendMessage
from convoq.logs import log
from convoq.queue.base import Job
from convoq.queue.following import BeginFollowUps

SHORTEST_PAUSE = 1.0  # seconds between two tries; it grows with the time that the message has waited
LONGEST_PAUSE = 60.0
ACCOUNT_PAUSE = 60.0  # seconds between two tries while our account is refused
REFUSED = (Failure.ACCOUNT, Failure.SENDER)  # no message is at fault
LEAST_LEASE = 1 / 3  # of it must be left: by the time a later one has the token the next worker may be at work
FENCED_PAUSE = 1.0  # seconds; to begin again at once would fence the other worker in turn, without end
UNANSWERED = 3  # threads in a row whose sends got no answer: a slow one alone holds up no other
LATE_SHARE = 0.5  # of reconcile_after: a process stopped this long before its request must not send any more


class Delivery:
    """Delivers a thread's pending parts.

    `reconcile_after`: seconds before the channel is asked about a send that ended without an answer;
    `request_timeout`: how long a send takes at most.
    """

    def __init__(
        self,
        outbox: Outbox,
        channels: Mapping[str, Channel],
        clock: Clock,
        wall: Clock,
        *,
        reconcile_after: float,
        request_timeout: float,
    ) -> None:
        self._outbox = outbox
        self._channels = channels
        self._clock = clock
        self._wall = wall
        self._reconcile_after = reconcile_after
        self._request_timeout = request_timeout
        self._breakers: dict[tuple[str, str], Breaker[SendFailed]] = {}
        # From reconcile_after on others may look for this send, miss it and send it themselves.
        self._late_ms = round(reconcile_after * LATE_SHARE * 1000)

    async def run(self, thread_id: int, token: str, *, first: OutboxRow | None = None) -> None:
        """Returns when nothing pends. `first` is a part that has just been marked as being sent.

        Raises RetryLater or Snooze when the rest must wait, Fenced when another turn of the thread has begun.
        """
        if first is not None:
            if held := self._held(first):
                await self._outbox.mark_ready(first, token, because=str(held))
                raise held
            await self._ask(first, self._request(first, token))
        while (pending := await self._outbox.next_pending(thread_id)) is not None:
            row, conversation = pending
            if held := self._held(row):
                raise held
            if row.state == "ready":
                await self._ask(row, self._send(row, conversation, token))
            else:
                channel = channel_of(self._channels, conversation.contact.channel)
                await self._ask(row, self._reconcile(channel, row, token))

    def _held(self, row: OutboxRow) -> Snooze | RetryLater | None:
        """While the channel refuses us or gives no answer, one thread at a time asks it for all others."""
        wait, error = self._asked(row).admit(row.thread_id)
        if error is None:
            return None
        if error.failure in REFUSED:
            return Snooze(wait, str(error))
        # It was not even tried. Half the pause: with the whole one it would always come after the next probe.
        return self._later(row, str(error), at_least=wait, longest=LONGEST_PAUSE / 2, patience=WINDOW)

    async def _ask(self, row: OutboxRow, asking: Awaitable[None]) -> None:
        try:
            await asking
        finally:
            self._asked(row).abandoned()

    def _asked(self, row: OutboxRow) -> Breakers[SendFailed]:
        """What a request goes through."""
        return Breakers(self._endpoint(row), self._account(row), self._sender(row))

    def _endpoint(self, row: OutboxRow) -> Breaker[SendFailed]:
        """Where all of the channel's addresses send."""
        return self._of((row.channel, "endpoint"), UNANSWERED)

    def _account(self, row: OutboxRow) -> Breaker[SendFailed]:
        """With which all of the channel's addresses send."""
        return self._of((row.channel, "account"), SEVERAL)

    def _sender(self, row: OutboxRow) -> Breaker[SendFailed]:
        """Of one address of ours: what is refused may be its own registration."""
        return self._of((row.channel, row.our_address), SEVERAL)

    def _of(self, key: tuple[str, str], several: int) -> Breaker[SendFailed]:
        if key not in self._breakers:
            self._breakers[key] = Breaker(
                lambda: self._clock.now() / 1000, shortest=SHORTEST_PAUSE, longest=LONGEST_PAUSE, several=several
            )
        return self._breakers[key]

    async def _send(self, row: OutboxRow, conversation: Conversation, token: str) -> None:
        is_template = row.template_sid is not None
        bodies = [row.body] if is_template else channel_of(self._channels, row.channel).split(row.body)
        # Written down whole where no channel is known: by an operator's cancel, before it began.
        if len(bodies) > 1 and await self._outbox.divide(row, bodies, token):
            return
        sending = await self._outbox.mark_sending(row, token)
        if isinstance(sending, Refusal):
            log.warning("reply.refused", conversation_id=conversation.id, code=sending.code, reason=sending.reason)
        elif isinstance(sending, Held):
            reason = f"{row.our_address} sends no faster than it may"
            raise Snooze((sending.until - self._clock.now()) / 1000, reason)
        elif sending is not None:
            await self._request(sending, token)

    async def _request(self, row: OutboxRow, token: str) -> None:
        if self._clock.now() - (row.attempted_at or 0) > self._late_ms:
            # Nothing was sent, so if the turn is still ours the part is simply ready again.
            reason = "this process was stopped before it could send"
            await self._outbox.mark_ready(row, token, because=reason)
            raise Snooze(SHORTEST_PAUSE, reason)
        try:
            sent = await channel_of(self._channels, row.channel).send(_outbound(row))
        except SendFailed as error:
            await self._failed(row, error, token)
        else:
            self._asked(row).ended()
            await self._outbox.mark_sent(row, sent.provider_id)
            log.info("reply.sent", conversation_id=row.conversation_id, part=row.part, provider_id=sent.provider_id)

    async def _failed(self, row: OutboxRow, error: SendFailed, token: str) -> None:
        """Writes down what the failure means for the row; raises what it means for the job."""
        wait = self._tracked(row, error)
        log.warning(
            "send.failed", conversation_id=row.conversation_id, failure=error.failure, code=error.code, error=str(error)
        )
        match error.failure:
            case Failure.PERMANENT:
                await self._outbox.mark_failed(row, token, because=str(error), code=error.code)
            case Failure.OPTED_OUT:
                await self._outbox.mark_opted_out(row, because=str(error), code=error.code)
            case Failure.AMBIGUOUS:
                await self._outbox.mark_ambiguous(row, token, because=str(error))
                raise self._later(row, f"unknown whether it was sent: {error}", at_least=self._reconcile_after)
            case Failure.ACCOUNT | Failure.SENDER:
                await self._outbox.mark_ready(row, token, because=str(error), is_refused=True)
                raise Snooze(wait, str(error))  # no message is at fault, so no attempt is spent
            case Failure.NOT_SENT | Failure.WAIT:
                await self._outbox.mark_ready(row, token, because=str(error))
                raise self._later(row, str(error), at_least=error.delay or 0.0)

    def _tracked(self, row: OutboxRow, error: SendFailed) -> float:
        """What the failure says of the channel holds for all sends; seconds to wait where it refuses our account."""
        if error.failure is Failure.AMBIGUOUS:
            self._endpoint(row).failed(row.thread_id, error)
            return 0.0
        if error.failure is not Failure.NOT_SENT:  # it may not even have been reached
            self._endpoint(row).ended()
        match error.failure:
            case Failure.ACCOUNT | Failure.SENDER:
                log.error("account.refused", code=error.code, error=str(error))
                refused = self._account(row) if error.failure is Failure.ACCOUNT else self._sender(row)
                return refused.failed(row.thread_id, error, ACCOUNT_PAUSE)
            case Failure.NOT_SENT:
                return self._account(row).failed(row.thread_id, error)
            case Failure.PERMANENT | Failure.OPTED_OUT | Failure.WAIT:
                self._asked(row).ended()
        return 0.0

    async def _reconcile(self, channel: Channel, row: OutboxRow, token: str) -> None:
        """Finds out whether a part with an unknown outcome was sent: adopts it, or makes it ready to be sent again."""

        if (wait := self._unknowable(row) - self._age(row)) > 0:
            raise Snooze(wait, "waiting to ask whether it was sent")
        try:
            found = await channel.find(_outbound(row), age=lambda: max(self._age(row), self._wall_age(row)))
        except SendFailed as error:
            reason = f"cannot ask whether it was sent: {error}"
            wait = self._tracked(row, error)
            if error.failure in REFUSED:
                raise Snooze(wait, reason) from error
            raise self._later(row, reason, at_least=error.delay or 0.0) from error
        self._account(row).ended()
        free = await self._outbox.unadopted(sent.provider_id for sent in found)
        adopted = next((sent.provider_id for sent in found if sent.provider_id in free), None)
        log.warning("send.reconciled", conversation_id=row.conversation_id, part=row.part, provider_id=adopted)
        if adopted is not None:
            await self._outbox.mark_sent(row, adopted, reconciled=True)
        else:
            await self._outbox.mark_ready(row, token)

    def _age(self, row: OutboxRow) -> float:
        return (self._clock.now() - (row.attempted_at or 0)) / 1000

    def _wall_age(self, row: OutboxRow) -> float:
        """Seconds since the attempt by the wall clock, which is set after a pause that the queue's has not counted."""
        at = row.attempted_wall
        return (self._wall.now() - at) / 1000 if at is not None and at >= EARLIEST else 0.0

    def _unknowable(self, row: OutboxRow) -> float:
        """Seconds from the attempt on in which the channel may still come to have the part."""
        # `ambiguous`: the attempt is over. `sending`: its worker died or was stopped, but its request may live on.
        return self._reconcile_after + (self._request_timeout if row.state == "sending" else 0.0)

    def _later(
        self,
        row: OutboxRow,
        reason: str,
        *,
        at_least: float,
        longest: float = LONGEST_PAUSE,
        patience: timedelta = OUTAGE_PATIENCE,
    ) -> Snooze | RetryLater:
        """The channel's trouble is not the message's fault: for a while trying again costs no attempts."""
        waited = (self._clock.now() - row.committed_at) / 1000
        delay = max(at_least, min(waited / 4, longest), SHORTEST_PAUSE)
        return Snooze(delay, reason) if waited < patience.total_seconds() else RetryLater(delay, reason)


def airtime_of(channels: Mapping[str, Channel]) -> Airtime:
    """What a message takes of its sender's time, as its channel counts."""

    def airtime(message: Paced) -> int:
        channel = channels.get(message.channel)
        return 0 if channel is None else math.ceil(channel.airtime(message.our_address, message.body) * 1000)

    return airtime


def _outbound(row: OutboxRow) -> Outbound:
    template = None if row.template_sid is None else UsedTemplate(row.template_sid, row.template_variables or "{}")
    return Outbound(
        reference=row.reference, our_address=row.our_address, address=row.address, body=row.body, template=template
    )


def require_lease(context: ClaimContext) -> None:
    """To be called before a thread's token is taken. Raises Snooze when too little of the lease is left."""
    if context.lease_left() < LEAST_LEASE:
        raise Snooze(FENCED_PAUSE, "its lease was nearly over before it could begin")


def send_message(outbox: Outbox, delivery: Delivery, channels: Mapping[str, Channel]) -> Handler:
    """The handler of send_message: a message of our own, in its thread's order, under the same rules."""

    async def send(context: ClaimContext) -> None:
        require_lease(context)
        [job] = context.claim.jobs
        payload = SendMessage.model_validate_json(job.payload)
        if not payload.body:
            raise Unrecoverable("the body is empty")
        announcement = Announcement(
            channel=payload.channel,
            our_address=payload.our_address,
            address=payload.address,
            text=payload.body,
            parts=tuple(channel_of(channels, payload.channel).split(payload.body)),
            source=f"job:{job.id}",
            asked_at=job.enqueued_at,
        )
        announced = await outbox.announce(announcement)
        if announced is None:
            context.forget = True  # it names who was erased
            log.info("message.of_erased", job_id=job.id)
            return
        first = announced.first
        if isinstance(first, Refusal):
            log.warning("message.refused", thread_id=announced.thread_id, code=first.code, reason=first.reason)
            first = None
        try:
            await delivery.run(announced.thread_id, announced.token, first=first)
        except Fenced:
            raise Snooze(FENCED_PAUSE, "a turn of the thread has begun") from None

    return send


def record_delivery_status(outbox: Outbox, channels: Mapping[str, Channel], begin: BeginFollowUps) -> Handler:
    """The handler of record_delivery_status: what has failed for what may pass is to be sent once more."""

    async def record(job: Job) -> None:
        follow_ups = begin()

        def again(tx: Transaction, part: int, delay: float) -> None:
            follow_ups.enqueue(tx, SendAgain(part=part).job(delay=delay, max_attempts=MOST_ATTEMPTS))

        payload = RecordDeliveryStatus.model_validate_json(job.payload)
        status = channel_of(channels, payload.channel).parse_status(payload.form, payload.reference)
        known = await outbox.record_delivery(status, again)
        if status.again_after is not None:
            await follow_ups.send()
        if not known:
            log.info("delivery.unknown", provider_id=status.provider_id)
        elif not status.known:
            log.warning("delivery.new_status", provider_id=status.provider_id, status=status.status)
        elif status.failed:
            log.warning("delivery.failed", provider_id=status.provider_id, code=status.error_code)

    return each(record)


def send_again(resending: Resending, begin: BeginFollowUps) -> Handler:
    """The handler of send_again: the part is ready once more, for the thread's turn to deliver."""

    async def again(job: Job) -> None:
        part = SendAgain.model_validate_json(job.payload).part
        follow_ups = begin()
        result = await resending.send_again(part, partial(enqueue_turns, follow_ups))
        await follow_ups.send()
        if isinstance(result, Refusal):
            log.warning("send.not_repeated", part_id=part, code=result.code, reason=result.reason)
        elif result is not None:
            log.info("send.repeated", conversation_id=result.conversation_id, part_id=part, reference=result.reference)

    return each(again)
