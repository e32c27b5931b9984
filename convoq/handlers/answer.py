"""process_ai_response: the turns of one thread, from the messages that wait to the reply that is sent.

Deliver what pends, look, ask, commit, send. Each step is in the store before the next begins, so a turn that is cut off
anywhere is taken up where it was; and a reply is committed only while nothing waits that the model has not seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta, tzinfo
from math import inf
from typing import Final, NamedTuple

from convoq.ai.base import (
    AccountRefused,
    AllowanceSpent,
    AnswerLost,
    AnswerRefused,
    BudgetReached,
    Reply,
    ReplyContext,
    Responder,
    Useless,
)
from convoq.ai.reply import clean
from convoq.breaker import SHORTEST
from convoq.channels.base import Channel
from convoq.clock import OUTAGE_PATIENCE, Clock
from convoq.conversations.notices import Notices, Silence
from convoq.conversations.pacing import Held
from convoq.conversations.records import Answer, Handover, Message, OutboxRow, Turn
from convoq.conversations.states import HandedReason
from convoq.conversations.turn_steps import Concluded, Costly, Pause, Pending, Spent, Step, Uncommitted
from convoq.conversations.turns import Turns
from convoq.errors import DatabaseUnavailable, Fenced, RetryLater, Snooze, Unrecoverable
from convoq.handlers.base import ClaimContext, channel_of
from convoq.handlers.bringing_back import bring_back
from convoq.handlers.costs import Costs
from convoq.handlers.disclosing import Disclosure, log_committed
from convoq.handlers.handing_over import reason_of
from convoq.handlers.outages import LONGEST_PAUSE, outage_pause
from convoq.handlers.outbox import FENCED_PAUSE, Delivery, require_lease
from convoq.handlers.prompting import Prompting, handover_of
from convoq.handlers.tasks import ended
from convoq.jobs import ProcessAiResponse
from convoq.logs import log
from convoq.queue.base import JobAdmin
from convoq.queue.service import error_text
from convoq.settings import ConversationSettings
from convoq.text import last_line

REFUSAL_PATIENCE: Final = timedelta(hours=24)  # as long as WhatsApp takes an answer to a message
ALARM_PAUSE: Final = timedelta(minutes=1)  # one line in the log speaks for all that wait
LOOK_INTERVAL: Final = 0.5  # seconds between two looks at whether what the model writes is still wanted
STOPPED_PAUSE: Final = 0.1  # seconds; the next claim of the lane goes on with what waits
COMMIT_PAUSE: Final = 1.0  # seconds before a commit that could not be written is tried again


class Sentences(NamedTuple):
    """What is said to a person who gets no answer."""

    notices: Notices
    holding_after: int | None  #: ms since their message, when they are asked to wait for a model that is down


class AnswerHandler:
    """Answers what waits, turn by turn. `persona_of` names the persona that speaks for one of our addresses, `zone_of`
    the time zone that people there mean (None: the machine's).

    `backoff` says how many seconds to wait after so many failures of a message, `sentences` what is said to a person
    that gets none. `jobs` has the dead letters of the conversations that were refused before all were.
    """

    def __init__(
        self,
        *,
        turns: Turns,
        costs: Costs,
        delivery: Delivery,
        channels: Mapping[str, Channel],
        responder: Responder,
        persona_of: Callable[[str], str],
        zone_of: Callable[[str], tzinfo | None],
        timing: ConversationSettings,
        backoff: Callable[[int], float],
        clock: Clock,
        wall: Clock,
        sentences: Sentences | None = None,
        jobs: JobAdmin | None = None,
        disclosure: Disclosure | None = None,
    ) -> None:
        self._turns = turns
        self._delivery = delivery
        self._channels = channels
        self._responder = responder
        self._prompting = Prompting(turns, costs, wall, persona_of, zone_of, may_close=timing.ai_may_close)
        self._timing = timing
        self._backoff = backoff
        self._clock = clock
        self._sentences = sentences
        self._holding_after = sentences.holding_after if sentences else None
        self._jobs = jobs
        self._disclosure = disclosure
        self._alarmed_at: int | None = None

    async def __call__(self, context: ClaimContext) -> None:
        require_lease(context)
        thread_id = ProcessAiResponse.model_validate_json(context.claim.jobs[0].payload).thread
        try:
            await self._run(thread_id, context)
        except Fenced:
            raise Snooze(FENCED_PAUSE, "another turn of the thread has begun") from None

    async def _run(self, thread_id: int, context: ClaimContext) -> None:
        token: str | None = None
        while (step := await self._look(thread_id, token, context)) is not None:
            match step:
                case Pending(token):
                    await self._delivery.run(thread_id, token)
                case Pause(until, reason):
                    raise Snooze((until - self._clock.now()) / 1000, reason)
                case Concluded(token, outcome, loop):
                    log.info("turn.concluded", thread_id=thread_id, outcome=outcome)
                    if loop is not None:
                        log.error("conversation.looping", thread_id=thread_id, reason=loop)
                case Spent(tries, last):
                    raise self._end(
                        context, f"tried {tries} times, and no turn came to an end: {last or 'its workers died'}"
                    )
                case Costly():
                    raise self._end(context, step.told)
                case Turn(token=token):
                    await self._answer(step, context)

    async def _look(self, thread_id: int, token: str | None, context: ClaimContext) -> Step | None:
        if token is not None and context.stopping:
            raise Snooze(STOPPED_PAUSE, "the worker stops: what waits is the next one's")
        context.renew_deadline()  # it is one answer's
        return await self._turns.look(thread_id, token, context.claim.jobs[0].id)

    async def _answer(self, turn: Turn, context: ClaimContext) -> None:
        """Commits the answer and sends its first part, unless something newer has to be answered with it."""
        if (answer := await self._ask(turn, context)) is None:
            return
        try:
            committed = await self._commit(turn, answer, context)
        except asyncio.CancelledError:
            await self._give_back(turn)
            raise
        conversation_id = turn.conversation.id
        if isinstance(committed, OutboxRow | Held):
            log_committed(answer, committed.body, conversation_id)
        if isinstance(committed, OutboxRow):  # what is held is delivered by the next look
            await self._delivery.run(turn.thread_id, turn.token, first=committed)
        elif committed is Uncommitted.NEWER:
            log.info("draft.superseded", conversation_id=conversation_id, model=answer.model)

    async def _ask(self, turn: Turn, context: ClaimContext) -> Answer | None:
        """Has the responder write the answer; None when it is not wanted any more."""
        try:
            prompt = await self._prompting.context_of(turn)
            reply = await self._unless_overtaken(turn, prompt)
            return None if reply is None else await self._answer_of(turn, reply, acted=prompt.acted.is_set())
        except (Fenced, GeneratorExit):
            raise
        except DatabaseUnavailable:
            await self._give_back(turn)
            raise
        except asyncio.CancelledError:
            if context.leaving is None:
                await self._fail(turn, "not answered within the deadline")
            else:
                await self._give_back(turn)
            raise
        except Snooze as error:
            await self._turns.give_back(turn, until=self._at(error.delay))
            raise
        except AllowanceSpent as error:
            # What is shown besides may have cost less: the next look tells what is given up.
            await self._fail(turn, str(error))
            return None
        except Useless as error:
            await self._failed(turn, error, context)
        except AccountRefused as error:
            if (held := await self._held(turn, error, context)) is not None:
                raise held from error
        except BudgetReached as error:
            if (back := await self._put_off(turn, error, context)) is not None:
                raise back from error
        except RetryLater as error:
            # The model is down, which is not this message's fault: for a while that costs no tries.
            spent = isinstance(error, AnswerLost) and not error.asks_left
            if self._waited(turn) < OUTAGE_PATIENCE and not spent:
                delay = max(error.delay, self._growing_pause(turn, error))
                raise await self._postponed(turn, delay, str(error)) from error
            if not await self._leave_to_person(turn, HandedReason.PROVIDER_DOWN, str(error)):
                await self._failed(turn, error, context)
        except BaseException as error:  # noqa: BLE001 # SystemExit of a tool is this turn's failure like any other
            await self._failed(turn, error, context)
        return None

    async def _unless_overtaken(self, turn: Turn, prompt: ReplyContext) -> Reply | None:
        """The responder's reply; None, and its request ended, once the answer would not be what is to be said."""
        asking = asyncio.ensure_future(self._responder.reply(prompt))
        try:
            while not (await asyncio.wait({asking}, timeout=LOOK_INTERVAL))[0]:
                if await self._is_overtaken(turn, prompt):
                    asking.cancel()
                    await ended(asking)
                    await self._turns.give_up(turn)
                    log.info("draft.superseded", conversation_id=turn.conversation.id)
                    return None
        finally:
            if not asking.done():
                asking.cancel()
                await ended(asking)
        if asking.cancelled():
            raise RuntimeError("the responder awaited something that was cancelled")
        return asking.result()

    async def _is_overtaken(self, turn: Turn, prompt: ReplyContext) -> bool:
        with suppress(DatabaseUnavailable):
            if not await self._turns.is_overtaken(turn, newer_counts=not prompt.acted.is_set()):
                return False
            # Tools may have begun to act meanwhile: then only what must not be answered at all ends it.
            return not prompt.acted.is_set() or await self._turns.is_overtaken(turn, newer_counts=False)
        return False

    async def _answer_of(self, turn: Turn, reply: Reply, *, acted: bool) -> Answer | None:
        """None: a person of ours answers, and the customer is told nothing of it."""
        # The user's own responder may answer anything, too.
        text, handover = clean(reply.text), handover_of(reply)
        if not text and (handover is not None or reply.ends):
            text = self._turns.sentence(turn, hands_over=handover is not None)
        if not text and handover is not None and await self._leave_to_person(turn, *handover):
            return None
        if not text:
            raise Useless(SHORTEST, f"{reply.model}: its answer is empty")
        contact = turn.conversation.contact
        channel = channel_of(self._channels, contact.channel)
        text, most = channel.render(text, contact.address), self._timing.max_parts
        parts = channel.split(text, most=most)
        log.info("reply.drafted", conversation_id=turn.conversation.id, answers=len(turn.shown), model=reply.model)
        return Answer(
            text="".join(parts), parts=tuple(parts), model=reply.model, written_at=self._clock.now(), acted=acted,
            disclosing=self._disclosure.parts(turn.conversation, channel, text, most) if self._disclosure else (),
            closes=reply.ends, handover=handover,
        )  # fmt: skip

    async def _commit(self, turn: Turn, answer: Answer, context: ClaimContext) -> OutboxRow | Held | Uncommitted:
        """For as long as the lease is kept: given back, the answer would be paid for twice, and its tools act twice."""
        while True:
            context.renew_deadline()  # the model has kept it
            try:
                return await self._turns.commit(turn, answer)
            except DatabaseUnavailable as error:
                log.warning("reply.uncommitted", conversation_id=turn.conversation.id, error=str(error))
                await asyncio.sleep(COMMIT_PAUSE)

    async def _give_back(self, turn: Turn) -> None:
        """What ends it is no message's fault: it costs nothing, or a try where that cannot be written either."""
        with suppress(DatabaseUnavailable):
            await self._turns.give_back(turn)

    # --- Failures

    async def _postponed(self, turn: Turn, delay: float, reason: str) -> Snooze:
        await self._turns.give_back(turn, until=self._at(delay))
        if self._holding_after is not None and self._clock.now() - turn.shown[0].at >= self._holding_after:
            delay = min(delay, await self._say(turn, Silence.DELAYED))
        return Snooze(delay, reason)

    def _growing_pause(self, turn: Turn, error: RetryLater) -> float:
        """Seconds; not beyond the moment when the person is asked to wait."""
        waited = self._waited(turn).total_seconds()
        pause = outage_pause(error, waited)
        if self._holding_after is None or waited >= self._holding_after / 1000:
            return pause
        return min(pause, self._holding_after / 1000 - waited)

    async def _say(self, turn: Turn, silence: Silence, *, once: str | None = None) -> float:
        """In how many seconds the next turn is to go on with the send, which is in the outbox; inf: it need not."""
        if self._sentences is None:
            return inf
        row = await self._turns.notify(turn, silence, self._sentences.notices, once=once)
        if row is None:
            return inf
        log.info("silence.broken", conversation_id=turn.conversation.id, because=silence)
        if isinstance(row, Held):
            return (row.until - self._clock.now()) / 1000
        try:
            await self._delivery.run(turn.thread_id, turn.token, first=row)
        except (RetryLater, Snooze) as later:
            return later.delay
        return inf

    async def _held(self, turn: Turn, error: AccountRefused, context: ClaimContext) -> Snooze | Unrecoverable | None:
        """A key is corrected and an account topped up: until then the message is held, not lost.

        None: a person of ours answers it.
        """
        now = self._clock.now()
        if self._alarmed_at is None or timedelta(milliseconds=now - self._alarmed_at) >= ALARM_PAUSE:
            self._alarmed_at = now
            log.error("ai.refused", error=str(error))
            if self._jobs is not None:
                await bring_back(self._jobs, str(error), since=now - REFUSAL_PATIENCE // timedelta(milliseconds=1))
        patient = self._waited(turn) < OUTAGE_PATIENCE
        if not patient and await self._leave_to_person(turn, HandedReason.PROVIDER_DOWN, str(error)):
            return None
        if self._is_patient(turn):
            return await self._postponed(turn, error.delay, str(error))
        return await self._given_up(turn, error, context)

    async def _put_off(self, turn: Turn, error: BudgetReached, context: ClaimContext) -> Snooze | Unrecoverable | None:
        """Until the next period begins, or a ceiling is raised. None: a person of ours answers it."""
        if error.used_up:
            if await self._leave_to_person(turn, HandedReason.BUDGET, str(error)):
                return None
            if not self._is_patient(turn):
                return await self._given_up(turn, error, context)
        await self._turns.give_back(turn, until=self._at(error.delay))
        once = f"{turn.conversation.contact.id}:{error.day}"
        said = await self._say(turn, Silence.BUDGET, once=once) if error.used_up else inf
        return Snooze(min(error.delay, said), str(error))

    async def _given_up(self, turn: Turn, error: RetryLater, context: ClaimContext) -> Unrecoverable:
        await self._fail(turn, str(error), given_up=turn.shown, job_id=context.claim.jobs[0].id)
        return self._end(context, f"{error} (still so after 24 hours)")

    def _is_patient(self, turn: Turn) -> bool:
        return timedelta(milliseconds=self._clock.now() - turn.shown[-1].at) < REFUSAL_PATIENCE

    async def _failed(self, turn: Turn, error: BaseException, context: ClaimContext) -> None:
        """Raises what becomes of the job; returns where something waits that need not wait for this.

        The turn's messages are tried again; those that no try is left of are given up with the job.
        """
        text = error_text(error)
        final = isinstance(error, Unrecoverable)
        given_up = [message for message in turn.shown if final or message.tries + 1 >= self._turns.max_tries]
        if given_up and await self._leave_to_person(turn, reason_of(error), last_line(text)):
            return
        if isinstance(error, AnswerRefused):
            await self._say(turn, Silence.REFUSED)
        if given_up:
            await self._fail(turn, last_line(text), given_up=given_up, job_id=context.claim.jobs[0].id)
            raise self._end(context, text) from error
        next_at = await self._fail(turn, last_line(text), delay=self._pause(turn, error))
        if next_at is not None:
            raise RetryLater((next_at - self._clock.now()) / 1000, last_line(text)) from error

    async def _leave_to_person(self, turn: Turn, reason: HandedReason, why: str | None) -> bool:
        """Whether a person of ours answers instead; the customer is told so by the next look."""
        if not self._turns.may_hand_over(turn):
            return False
        if handed := await self._turns.hand_over(turn, Handover(reason, why)):
            log.info("conversation.handed_over", conversation_id=turn.conversation.id, reason=reason)
        return handed

    def _waited(self, turn: Turn) -> timedelta:
        return timedelta(milliseconds=self._clock.now() - turn.shown[0].at)

    async def _fail(
        self, turn: Turn, reason: str, *, delay: float | None = None, given_up: Sequence[Message] = (),
        job_id: str | None = None,
    ) -> int | None:  # fmt: skip
        """Counts it against the turn's messages, which wait `delay` seconds (None: a backoff); as Turns.fail."""
        retry_at = self._at(self._pause(turn) if delay is None else delay)
        log.warning("turn.failed", conversation_id=turn.conversation.id, answers=len(turn.shown), error=reason)
        return await self._turns.fail(turn, reason=reason, retry_at=retry_at, given_up=given_up, job_id=job_id)

    def _pause(self, turn: Turn, error: BaseException | None = None) -> float:
        """Seconds until what failed is tried again: a backoff, and at least what the error asks for.

        Between answers without use that grows: a model that gives none will hardly give one at the next request.
        """
        failures = max(message.failures for message in turn.shown)
        asked_for = error.delay if isinstance(error, RetryLater) else 0.0
        if isinstance(error, Useless):
            asked_for = min(asked_for * 2.0**failures, LONGEST_PAUSE)
        return max(self._backoff(failures + 1), asked_for)

    def _end(self, context: ClaimContext, reason: str) -> Unrecoverable:
        """One job goes to the dead letters for the turn; the others of the claim go on."""
        context.running = context.claim.jobs[:1]
        return Unrecoverable(reason)

    def _at(self, delay: float) -> int:
        return self._clock.now() + round(delay * 1000)
