"""A queue, a store, a loopback Twilio and a scripted model, with every handler between them and the clock by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC
from functools import partial
from typing import Any

from pydantic import SecretStr

from convoq.ai.base import Author, ModelCall, Reply, ReplyContext, Responder
from convoq.ai.prices import PriceList
from convoq.channels.twilio.channel import TwilioChannel
from convoq.clock import Clock, WallClock
from convoq.conversations.acts import Acts
from convoq.conversations.budgets import Budgets
from convoq.conversations.bulk_acts import BulkActs
from convoq.conversations.catching_up import CatchUp
from convoq.conversations.ceilings import BudgetRules
from convoq.conversations.confirming import Confirmations
from convoq.conversations.erasures import Erasures
from convoq.conversations.handing_over import HandoverRules
from convoq.conversations.loops import LoopRules
from convoq.conversations.notifications import Notifications
from convoq.conversations.outbox import Outbox
from convoq.conversations.owner_timers import OwnerTimers
from convoq.conversations.pacing import Airtime, Pacing, unlimited
from convoq.conversations.phones import Phones
from convoq.conversations.queries import Reading
from convoq.conversations.recording import Recorder
from convoq.conversations.repair import Repair
from convoq.conversations.resending import Resending
from convoq.conversations.retention import Retention
from convoq.conversations.settling import Settling
from convoq.conversations.silence import Lifecycle
from convoq.conversations.text_index import TextIndex
from convoq.conversations.turn_steps import TurnRules
from convoq.conversations.turns import Turns
from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from convoq.errors import RetryLater
from convoq.handlers import upkeep
from convoq.handlers.answer import AnswerHandler, Sentences
from convoq.handlers.base import ClaimContext, Handler, Handlers
from convoq.handlers.bulk import run_bulk_act
from convoq.handlers.catch_up import CatchingUp, catch_up
from convoq.handlers.costs import Costs
from convoq.handlers.disclosing import Disclosure
from convoq.handlers.erasing import erase_people
from convoq.handlers.notifying import NotificationWatch, send_notifications
from convoq.handlers.outbox import Delivery, record_delivery_status, send_again, send_message
from convoq.handlers.phone import answer_operator
from convoq.handlers.receive import ReceiveHandler, enqueue_turns
from convoq.handlers.run import Run
from convoq.jobs import (
    AnswerOperator,
    ErasePeople,
    Housekeeping,
    ProcessAiResponse,
    ProcessExpired,
    ProcessHandovers,
    ProcessIdle,
    ReceiveMessage,
    RecordDeliveryStatus,
    RunBulkAct,
    SendAgain,
    SendMessage,
    SendNotifications,
    WakeThreads,
    message_job,
    receive_job,
)
from convoq.jobs import CatchUp as CatchUpJob
from convoq.loopback.twilio import ACCOUNT_SID, AUTH_TOKEN, LoopbackTwilio
from convoq.monitoring.audit import find_flaws
from convoq.notify.opening import named_targets, open_targets, target_finder
from convoq.queue.base import Claim, JobFilter, JobRecord, JobState
from convoq.queue.following import BeginFollowUps, Joined, LaterFollowUps, SharedFollowUps
from convoq.queue.redis.backend import RedisQueue
from convoq.queue.redis.connection import Server
from convoq.queue.service import QueueService
from convoq.settings import ConversationSettings, QueueSettings, TwilioSettings
from convoq.settings.notify import NotifySettings
from convoq.settings.retention import RetentionSettings
from convoq.worker import Worker
from tests.clock import ManualClock
from tests.handlers.engines import FREE, erasure_of, free_on_redis, open_redis
from tests.handlers.engines import Engine as Engine
from tests.handlers.engines import open_engine as open_engine
from tests.handovers import NOBODY_LOOKS

OURS, ANA, BEN = "whatsapp:+15550009999", "whatsapp:+15551230001", "whatsapp:+15551230002"
OUR_SMS, ANA_SMS = "+15550009999", "+15551230001"
RECONCILE_AFTER = 5.0
REQUEST_TIMEOUT = 10.0
TOGETHER = frozenset({ReceiveMessage.kind, ProcessAiResponse.kind})
MAX_TRIES, MAX_REQUESTS, MAX_OUTPUT_TOKENS = 5, 6, 10_000
TIMING = ConversationSettings(quiet_window=0, max_wait=20, idle_after=900, expire_after=86400, reopen_within=0)

NO_LOOPS = LoopRules(guard=False, most_replies=0)  # as machines, tests answer at once

UPKEEP_KINDS = (ProcessIdle, ProcessExpired, ProcessHandovers, WakeThreads, CatchUpJob, Housekeeping)
NO_BUDGETS = BudgetRules()
TELLS_NOBODY = NotifySettings()
FOR_EVER = RetentionSettings()

Answering = Callable[[ReplyContext], Awaitable[str] | str]


class ScriptedResponder:
    """Answers what waits with "re: ..."; the next answers can be scripted, as a text, a function or an error."""

    def __init__(self) -> None:
        self.asked: list[ReplyContext] = []
        self.script: list[str | Exception | Answering] = []
        self.always: Exception | Answering | None = None
        self.instead: Responder | None = None  #: answers in its place

    async def warm(self) -> None: ...

    async def reply(self, context: ReplyContext) -> Reply:
        self.asked.append(context)
        if self.instead is not None:
            return await self.instead.reply(context)
        answer: str | Exception | Answering = self.script.pop(0) if self.script else self.always or about
        outcome = "ok"
        try:
            return Reply(await _said(answer, context), "scripted")
        except RetryLater:
            outcome = "retryable"
            raise
        finally:
            await context.record(ModelCall(model="scripted", outcome=outcome, input_tokens=3, output_tokens=2))

    async def close(self) -> None: ...


async def _said(answer: str | Exception | Answering, context: ReplyContext) -> str:
    if isinstance(answer, Exception):
        raise answer
    text = answer if isinstance(answer, str) else answer(context)
    return text if isinstance(text, str) else await text


def waiting(context: ReplyContext) -> list[str]:
    """What the contact wrote since anybody answered."""
    texts: list[str] = []
    for line in context.lines:
        texts = [*texts, line.text] if line.author is Author.CONTACT else []
    return texts


def about(context: ReplyContext) -> str:
    return "re: " + " + ".join(waiting(context))


class MovableWall(WallClock):
    """The machine's, as the loopback Twilio has it, until it is set."""

    ahead = 0.0  #: seconds

    def now(self) -> int:
        return super().now() + round(self.ahead * 1000)


@dataclass
class House:
    database: Database | PostgresDatabase
    clock: ManualClock
    twilio: LoopbackTwilio
    queue: QueueService
    engine: Engine
    turns: Turns
    lifecycle: Lifecycle
    outbox: Outbox
    responder: ScriptedResponder
    handlers: dict[str, Handler]
    delivery: Delivery
    channel: TwilioChannel
    wall: MovableWall
    notifications: Notifications
    watch: NotificationWatch
    worker: Worker = field(init=False)

    def __post_init__(self) -> None:
        handlers = Handlers(
            self.handlers, together=TOGETHER, forgotten=frozenset({ProcessAiResponse.kind, AnswerOperator.kind})
        )
        self.worker = Worker(self.queue, handlers, name="w", concurrency=8, deadline=20, drain_timeout=1)

    # --- What happens outside

    async def hear(
        self,
        text: str = "",
        *,
        sender: str = ANA,
        to: str = OURS,
        sid: str | None = None,
        media: Sequence[tuple[str, str]] = (),
        extra: Mapping[str, str] | None = None,
        dedup: bool = True,
    ) -> str:
        """Somebody writes, and the webhook enqueues it; the job's id."""
        sid = sid or self.twilio.new_sid()
        form = self.twilio.inbound_form(from_=sender, to=to, body=text, sid=sid, media=media, extra=extra)
        job = receive_job(ReceiveMessage(form=tuple(form)), to, sender, dedup_key=sid if dedup else None)
        return (await self.queue.enqueue(job)).job_id

    async def hear_at_once(self, text: str, *, sender: str = ANA, to: str = OURS) -> None:
        """Somebody writes, and it is recorded before this returns, whatever else is being done."""
        await self.hear(text, sender=sender, to=to)
        await self.take_in()

    async def report(self, sid: str, status: str, *, reference: str | None = None, code: int | None = None) -> str:
        """Twilio calls a delivery status back; the job's id."""
        form = [("MessageSid", sid), ("MessageStatus", status), *([("ErrorCode", str(code))] if code else [])]
        job = RecordDeliveryStatus(form=tuple(form), reference=reference).job(ordering_key=f"status|{sid}")
        return (await self.queue.enqueue(job)).job_id

    async def send(self, body: str, *, to: str = ANA, sender: str = OURS) -> str:
        """Somebody of ours writes to a person; the job's id."""
        return (await self.queue.enqueue(message_job(sender, to, body))).job_id

    def acts(self, name: str = "Marta") -> Acts:
        """What one of our people can do."""
        return Acts(self.database, WallClock(), name, lambda tx, threads: enqueue_turns(self.joined, tx, threads))

    def unwoken_acts(self, name: str = "Marta") -> Acts:
        """The same where no turn is due by them, whatever engine has the queue."""
        return Acts(self.database, WallClock(), name, lambda *_: None)

    # --- The worker

    async def step(self) -> int:
        """Everything that is due now is handled once, as the worker does it, what came in first; how many claims."""
        return await self.take_in() + await self.turn()

    async def take_in(self) -> int:
        """What people wrote is recorded."""
        return await self._handle_all(await self.claim(0, reserve=100))

    async def turn(self) -> int:
        """Everything else that is due now."""
        return await self._handle_all(await self.claim(100))

    async def claim(self, limit: int, *, reserve: int = 0) -> list[Claim]:
        return await self.queue.claim(limit, worker="w", reserve=reserve, together=TOGETHER)

    async def _handle_all(self, claims: Sequence[Claim]) -> int:
        for claim in claims:
            await self.handle(claim)
        return len(claims)

    async def handle(self, claim: Claim, *, lease_left: float = 1.0) -> None:
        if claim.kind not in self.handlers:
            await self.worker._give_back(claim, 0)
            return
        context = ClaimContext(claim, self.queue)
        context.renewed_at -= round((1 - lease_left) * self.queue.lease * 1000)
        await self.worker._handle(Run(context, 0.0))

    async def settle(self, *, patience: float = 86_400) -> None:
        """Handles until nothing is left; the clock goes on to whatever is due next."""
        while (due := await self.engine.next_due()) is not None:
            assert due <= patience, f"the next job is due in {due} s"
            patience -= due
            self.clock.advance(due)
            await self.step()

    async def live(self, seconds: float) -> None:
        """Everything that is due in that time is handled when it is due."""
        ends_at = self.clock.now() + seconds * 1000
        while (due := await self.due_in()) is not None and self.clock.now() + due * 1000 <= ends_at:
            self.clock.advance(max(due, 0.001))
            await self.step()
        self.clock.advance((ends_at - self.clock.now()) / 1000)

    async def tell(self) -> None:
        """What is to be told is looked for, and told as far as it can be now."""
        await self.watch.look()
        await self.step()

    async def upkeep(self, kind: str) -> None:
        """One run of an upkeep job."""
        model = {model.kind: model for model in UPKEEP_KINDS}[kind]
        await self.queue.enqueue(model().job())
        await self.step()

    async def free(self, claim: Claim) -> None:
        """Its worker is known to be dead: the lane is due at once."""
        if isinstance(self.engine, RedisQueue):
            await free_on_redis(self.engine, claim, self.clock.now())
        else:
            await self.change(FREE, self.clock.now(), claim.receipt)

    # --- What can be seen

    @property
    def joined(self) -> Joined:
        assert not isinstance(self.engine, RedisQueue)
        return self.engine.joined

    @property
    def sent(self) -> list[str]:
        """What people received, oldest first."""
        return [message.body for message in self.twilio.messages]

    async def job(self, job_id: str) -> JobRecord:
        found = await self.engine.get(job_id)
        assert found is not None
        return found

    async def turn_job(self) -> JobRecord:
        """The one turn that is to be run, or failed for good."""
        states = (JobState.READY, JobState.DEAD, JobState.CANCELLED)
        [found] = await self.engine.list(JobFilter(kinds=(ProcessAiResponse.kind,), states=states))
        return found

    async def dead(self) -> list[JobRecord]:
        return await self.engine.list(JobFilter(states=(JobState.DEAD,)))

    async def due_in(self) -> float | None:
        return await self.engine.next_due()

    async def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return await self.database.read(lambda connection: connection.execute(sql, values).fetchall())

    async def change(self, sql: str, *values: object) -> None:
        await self.database.write(lambda connection: connection.execute(sql, values))

    async def flaws(self) -> list[str]:
        """What is not sound of the database, and what does not fit together in it."""
        return await find_flaws(self.database, holds_queue=not isinstance(self.engine, RedisQueue))

    async def outcomes(self) -> list[tuple[str, str | None]]:
        """What people wrote and what became of it."""
        return await self.rows("SELECT body, outcome FROM messages WHERE direction = 'in' ORDER BY id")

    async def outbox_states(self) -> list[str]:
        return [state for (state,) in await self.rows("SELECT state FROM outbox ORDER BY id")]


@asynccontextmanager
async def open_house(
    database: Database | PostgresDatabase,
    clock: ManualClock,
    *,
    timing: ConversationSettings = TIMING,
    timeout: float = 10.0,
    sentences: Sentences | None = None,
    max_tries: int = MAX_TRIES,
    confirmations: Confirmations | None = None,
    redis: Server | None = None,
    handover: HandoverRules = NOBODY_LOOKS,
    budgets: BudgetRules = NO_BUDGETS,
    prices: PriceList | None = None,
    wall: Clock | None = None,
    loops: LoopRules = NO_LOOPS,
    ours: Collection[str] = (),
    disclosure: Disclosure | None = None,
    airtime: Airtime = unlimited,
    retention: RetentionSettings = FOR_EVER,
    notify: NotifySettings = TELLS_NOBODY,
) -> AsyncIterator[House]:
    """With `redis` the queue is there instead of in the database.

    Without `sentences` nothing is said where there is no answer, without `confirmations` nothing after a STOP."""
    async with LoopbackTwilio(retry_delay=0.01) as twilio, open_targets(notify) as targets:
        twilio.delivery = ()
        settings = TwilioSettings(
            account_sid=ACCOUNT_SID, auth_token=SecretStr(AUTH_TOKEN), api_base_url=twilio.url, timeout=timeout
        )
        channel = await TwilioChannel.create(settings, public_url="http://127.0.0.1:9", clock=WallClock())
        moving = MovableWall()
        wall = wall or moving
        settle = Settling(clock, wall, sentences.notices if sentences else None)
        engine = open_engine(database, settle) if redis is None else open_redis(redis, database, settle, clock)
        queue = QueueService(engine, QueueSettings(), random=lambda: 1.0)
        rules = TurnRules(
            quiet_window=round(timing.quiet_window * 1000),
            max_wait=round(timing.max_wait * 1000),
            max_tries=max_tries,
            max_requests=MAX_REQUESTS,
            max_output_tokens=MAX_OUTPUT_TOKENS,
            handover=handover,
            loops=loops,
        )
        spending = Budgets(database, wall, budgets)
        await spending.begin_counting()
        turns, lifecycle = Turns(database, wall, rules, airtime), Lifecycle(database, wall, handover.sentences)
        channels, outbox, responder = {channel.name: channel}, Outbox(database, wall, airtime), ScriptedResponder()
        delivery = Delivery(
            outbox, channels, clock, wall, reconcile_after=RECONCILE_AFTER, request_timeout=REQUEST_TIMEOUT
        )
        answer = AnswerHandler(
            turns=turns,
            costs=Costs(spending, prices or PriceList((), budgets.currency)),
            delivery=delivery,
            channels=channels,
            responder=responder,
            persona_of=lambda address: f"persona of {address}",
            zone_of=lambda address: UTC if address == OURS else None,
            timing=timing,
            backoff=queue.backoff,
            clock=clock,
            wall=wall,
            sentences=sentences,
            jobs=engine,
            disclosure=disclosure,
        )
        notifications, phones = Notifications(database, wall), Phones(database, wall)
        pacing = Pacing(database, airtime)
        await notifications.set_targets(named_targets(notify))
        begin: BeginFollowUps
        if isinstance(engine, RedisQueue):
            begin = partial(LaterFollowUps, engine)
        else:
            begin = partial(SharedFollowUps, engine.joined)
        handlers: dict[str, Handler] = {
            ReceiveMessage.kind: ReceiveHandler(
                Recorder(
                    *(database, wall, handover, confirmations),
                    reopen_within=timing.reopen_within,
                    closing_phrases=timing.closing_phrases,
                    ours=ours,
                ),
                channels,
                begin,
            ),
            ProcessAiResponse.kind: answer,
            RecordDeliveryStatus.kind: record_delivery_status(outbox, channels, begin),
            SendNotifications.kind: send_notifications(notifications, target_finder(targets, phones, channels, pacing)),
            AnswerOperator.kind: answer_operator(phones, Reading(database), channels, pacing),
            RunBulkAct.kind: run_bulk_act(BulkActs(database), engine, Reading(database)),
            ErasePeople.kind: erase_people(erasure_of(database, engine, clock), Erasures(database), begin),
            SendAgain.kind: send_again(Resending(database, wall), begin),
            SendMessage.kind: send_message(outbox, delivery, channels),
            ProcessIdle.kind: upkeep.process_idle(lifecycle, timing, begin),
            ProcessExpired.kind: upkeep.process_expired(lifecycle, timing, begin),
            ProcessHandovers.kind: upkeep.process_handovers(OwnerTimers(database, wall, handover), begin),
            WakeThreads.kind: upkeep.wake_threads(Repair(database), begin),
            CatchUpJob.kind: catch_up(CatchingUp(CatchUp(database), channels, queue.enqueue, wall)),
            Housekeeping.kind: upkeep.housekeeping(
                engine,
                TextIndex(database),
                spending,
                Retention(database, retention),
                database.tidy,
                QueueSettings(retention=100),
            ),
        }
        try:
            yield House(
                database,
                clock,
                twilio,
                queue,
                engine,
                turns,
                lifecycle,
                outbox,
                responder,
                handlers,
                delivery,
                channel,
                moving,
                notifications,
                NotificationWatch(notifications, begin),
            )
        finally:
            await channel.close()
            if redis is not None:
                await engine.close()
            await engine.close()
