"""process_ai_response: one turn, from the messages that wait to the reply that is sent.

Record, gate, draft, look again, commit, deliver. Each step is on disk before the next begins, so a turn that is cut off
anywhere is taken up where it was: nothing is asked, paid or sent twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from convoq.ai.base import AccountRefused, Author, ContextLine, ModelCall, ReplyContext, Responder
from convoq.ai.outage import SHORTEST
from convoq.ai.reply import clean
from convoq.channels.base import Channel
from convoq.clock import OUTAGE_PATIENCE, Clock
from convoq.conversations.recording import Received, Recorder
from convoq.conversations.records import Draft, Message, ModelUsage, Turn
from convoq.conversations.states import Outcome, Owner
from convoq.conversations.turns import Turns
from convoq.errors import RetryLater, Snooze, Unrecoverable
from convoq.handlers.base import ClaimContext, channel_of
from convoq.handlers.outbox import Delivery
from convoq.jobs import ProcessAiResponse
from convoq.logs import log
from convoq.queue.base import Job
from convoq.settings import ConversationSettings

REFUSAL_PATIENCE_MS = 24 * 3_600_000  # as long as WhatsApp takes an answer to a message
ALARM_PAUSE_MS = 60_000  # one line in the log speaks for all who wait
MOST_SUPERSEDED = 2  # drafts given up for newer messages before the person who keeps typing gets an answer


class AnswerHandler:
    """Answers each turn once. `persona_of` names the persona that speaks for one of our addresses."""

    def __init__(
        self,
        *,
        recorder: Recorder,
        turns: Turns,
        delivery: Delivery,
        channels: Mapping[str, Channel],
        responder: Responder,
        persona_of: Callable[[str], str],
        timing: ConversationSettings,
        clock: Clock,
    ) -> None:
        self._recorder = recorder
        self._turns = turns
        self._delivery = delivery
        self._channels = channels
        self._responder = responder
        self._persona_of = persona_of
        self._timing = timing
        self._clock = clock
        self._alarmed_at: int | None = None

    async def __call__(self, context: ClaimContext) -> None:
        conversation_id = await self._record(context, context.claim.jobs)
        # What an earlier try had committed goes out before anything new is thought of.
        await self._delivery.run(conversation_id, context.fence)
        while newer := await context.absorb():  # a long burst is more than one claim holds
            conversation_id = await self._record(context, newer)
        superseded = 0
        while newer := await self._answer(context, conversation_id, last_chance=superseded >= MOST_SUPERSEDED):
            superseded += 1
            conversation_id = await self._record(context, newer)
        await self._delivery.run(conversation_id, context.fence)

    async def _record(self, context: ClaimContext, jobs: Sequence[Job]) -> int:
        received = []
        for job in jobs:
            context.running = (job,)  # one that holds no message takes no neighbour with it
            payload = ProcessAiResponse.model_validate_json(job.payload)
            channel = channel_of(self._channels, payload.channel)
            received.append(Received(channel.parse_inbound(payload.form), job.id, job.enqueued_at))
        context.running = context.claim.jobs
        return await self._recorder.record(received, context.fence)

    async def _answer(self, context: ClaimContext, conversation_id: int, *, last_chance: bool) -> tuple[Job, ...]:
        """Commits the answer to what waits, or returns the newer messages that it must cover too."""
        turn = await self._turns.turn(conversation_id, {job.id for job in context.claim.jobs})
        if not turn.waiting:
            return ()
        if (outcome := self._gate(turn)) is not None:
            await self._turns.conclude(turn, outcome, context.fence)
            log.info("turn.concluded", conversation_id=conversation_id, outcome=outcome)
            return ()
        draft = await self._turns.draft(turn)
        if draft is None:
            self._wait_for_quiet(turn)
            draft = await self._ask(turn, context)
        if not last_chance and (newer := await context.absorb()):
            log.info("draft.superseded", conversation_id=conversation_id, newer=len(newer))
            return newer
        return await self._commit(turn, draft, context, last_chance=last_chance)

    def _gate(self, turn: Turn) -> Outcome | None:
        """Why no AI may answer this turn."""
        contact = turn.conversation.contact
        if contact.opted_out_at is not None:
            return Outcome.OPTED_OUT
        if contact.blocked_at is not None:
            return Outcome.BLOCKED
        if turn.conversation.owner is not Owner.AI:
            return Outcome.HUMAN
        return None

    def _wait_for_quiet(self, turn: Turn) -> None:
        """Snoozes until the person has paused, so that a burst gets one answer."""
        now = self._clock.now()
        quiet_at = turn.waiting[-1].at + round(self._timing.quiet_window * 1000)
        patience_ends = turn.waiting[0].at + round(self._timing.max_wait * 1000)
        wait = min(quiet_at, patience_ends) - now
        if wait > 0:
            raise Snooze(wait / 1000, "the person may still be writing")

    async def _ask(self, turn: Turn, context: ClaimContext) -> Draft:
        """Has the responder write the answer and saves it."""
        lines = tuple(_line(message) for message in await self._turns.history(turn))
        contact = turn.conversation.contact

        async def record(call: ModelCall) -> None:
            await self._turns.record_usage(turn, _usage(call))

        prompt = ReplyContext(
            conversation_id=turn.conversation.id,
            persona=self._persona_of(turn.conversation.our_address),
            channel=contact.channel,
            our_address=turn.conversation.our_address,
            address=contact.address,
            contact_name=contact.name,
            lines=lines,
            record=record,
        )
        try:
            reply = await self._responder.reply(prompt)
        except AccountRefused as error:
            raise self._held(error, turn) from error
        except RetryLater as error:
            # The model is down, which is not this message's fault: for a while that costs no attempts.
            if timedelta(milliseconds=self._clock.now() - turn.waiting[0].at) < OUTAGE_PATIENCE:
                raise Snooze(error.delay, str(error)) from error
            raise
        # The user's own responder may answer anything, too.
        text = clean(reply.text)
        if not text:
            raise RetryLater(SHORTEST, f"{reply.model}: its answer is empty")
        draft = Draft(text, reply.model)
        await self._turns.save_draft(turn, draft, context.fence)
        log.info("reply.drafted", conversation_id=turn.conversation.id, answers=len(turn.waiting), model=reply.model)
        return draft

    def _held(self, error: AccountRefused, turn: Turn) -> Snooze | Unrecoverable:
        """A key is corrected and an account topped up: until then the message is held, not lost."""
        now = self._clock.now()
        if self._alarmed_at is None or now - self._alarmed_at >= ALARM_PAUSE_MS:
            self._alarmed_at = now
            log.error("ai.refused", error=str(error))
        if now - turn.waiting[-1].at < REFUSAL_PATIENCE_MS:
            return Snooze(error.delay, str(error))
        return Unrecoverable(f"{error} (still so after 24 hours)")

    async def _commit(self, turn: Turn, draft: Draft, context: ClaimContext, *, last_chance: bool) -> tuple[Job, ...]:
        contact = turn.conversation.contact
        channel = channel_of(self._channels, contact.channel)
        parts = channel.split(channel.render(draft.text, contact.address), most=self._timing.max_parts)
        if await self._turns.commit_reply(turn, "".join(parts), parts, context.fence, even_if_newer=last_chance):
            log.info("reply.committed", conversation_id=turn.conversation.id, parts=len(parts))
            return ()
        # A message came, or a person took over, between the look and the commit: both mean look again.
        return await context.absorb() or context.claim.jobs


def _line(message: Message) -> ContextLine:
    return ContextLine(author=Author(message.author), text=message.description, at=message.at)


def _usage(call: ModelCall) -> ModelUsage:
    return ModelUsage(
        model=call.model,
        outcome=call.outcome,
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        duration_ms=call.duration_ms,
        error=call.error,
    )
