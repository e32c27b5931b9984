"""The worker as a role: every handler with what it needs, wired by hand."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from convoq import logs
from convoq.clock import WallClock
from convoq.daemon.process import Role, Storage, open_storage
from convoq.daemon.reload import Reload
from convoq.daemon.supervision import Stop, supervised
from convoq.logs import log
from convoq.settings.load import Loaded

if TYPE_CHECKING:
    from convoq.ai.base import Responder
    from convoq.conversations.confirming import Confirmations
    from convoq.conversations.handing_over import HandoverRules
    from convoq.conversations.notices import Notices
    from convoq.conversations.turn_steps import TurnRules
    from convoq.daemon.personas import CurrentPersonas
    from convoq.handlers.base import Handler, Handlers
    from convoq.handlers.disclosing import Disclosure
    from convoq.settings import Options

WrapResponder = Callable[["Responder", AsyncExitStack], "Responder"]


def work(*, drain: bool = False, wrap: WrapResponder | None = None) -> Role:
    """Claims jobs and handles them, until the stop is requested or, with `drain`, until nothing is due any more.

    `wrap` puts something around the configured responder; the stack that it is handed closes it.
    """

    async def role(loaded: Loaded, stop: Stop, reload: Reload) -> None:
        from convoq.worker import WorkerStuck

        try:
            await _work(loaded, stop, reload, drain=drain, wrap=wrap)
        except WorkerStuck:
            _replace_process()

    return role


def _replace_process() -> NoReturn:
    """The handler that can't be cancelled can't be waited for either: only a new process helps."""
    from convoq.worker import WorkerStuck

    log.error("worker.replaced")
    logs.flush()
    os._exit(WorkerStuck.exit_code)


async def _work(loaded: Loaded, stop: Stop, reload: Reload, *, drain: bool, wrap: WrapResponder | None) -> None:
    from convoq.conversations.settling import Settling
    from convoq.daemon.notifying import watching_notifications
    from convoq.daemon.personas import CurrentPersonas
    from convoq.handlers.tasks import make_task
    from convoq.worker import Worker

    asyncio.get_running_loop().set_task_factory(make_task)
    options = loaded.options
    personas = CurrentPersonas(loaded)
    notices = _notices(options, personas)
    async with open_storage(options, partial(Settling, notices=notices)) as storage, AsyncExitStack() as stack:
        worker = Worker(
            storage.queue,
            await _handlers(loaded, storage, stack, reload, wrap, personas, notices),
            name=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}",
            concurrency=options.work.concurrency,
            deadline=options.work.deadline,
            drain_timeout=options.work.drain_timeout,
            on_stuck=_replace_process,
        )

        def status() -> str:
            return f"{options.work.concurrency} slots, {worker.busy} busy"

        async with (
            supervised(storage.database, "work", stop, status, reload=reload, config=loaded.config_path),
            watching_notifications(options.notify, storage),
        ):
            await worker.run(stop.requested, at_once=stop.at_once, drain=drain)


async def _handlers(
    loaded: Loaded, storage: Storage, stack: AsyncExitStack, reload: Reload, wrap: WrapResponder | None,
    personas: CurrentPersonas, notices: Notices,
) -> Handlers:  # fmt: skip
    """Every kind's handler, with what it needs; closed by the stack."""
    from convoq import jobs
    from convoq.ai.prices import PriceList
    from convoq.channels.opening import open_channels
    from convoq.channels.twilio.inbound import CHANNEL
    from convoq.conversations.budgets import Budgets
    from convoq.conversations.bulk_acts import BulkActs
    from convoq.conversations.catching_up import CatchUp
    from convoq.conversations.ceilings import budget_rules
    from convoq.conversations.erasing import Erasing
    from convoq.conversations.erasures import Erasures
    from convoq.conversations.notifications import Notifications
    from convoq.conversations.outbox import Outbox
    from convoq.conversations.owner_timers import OwnerTimers
    from convoq.conversations.pacing import Pacing
    from convoq.conversations.phones import Phones
    from convoq.conversations.queries import Reading
    from convoq.conversations.recording import Recorder
    from convoq.conversations.repair import Repair
    from convoq.conversations.resending import Resending
    from convoq.conversations.retention import Retention
    from convoq.conversations.silence import Lifecycle
    from convoq.conversations.text_index import TextIndex
    from convoq.conversations.turns import Turns
    from convoq.handlers import upkeep
    from convoq.handlers.answer import AnswerHandler, Sentences
    from convoq.handlers.base import Handlers
    from convoq.handlers.bulk import run_bulk_act
    from convoq.handlers.catch_up import CatchingUp, catch_up
    from convoq.handlers.costs import Costs
    from convoq.handlers.custom import load_custom
    from convoq.handlers.erasing import Erasure, erase_people
    from convoq.handlers.notifying import send_notifications
    from convoq.handlers.outbox import Delivery, airtime_of, record_delivery_status, send_again, send_message
    from convoq.handlers.phone import answer_operator
    from convoq.handlers.receive import ReceiveHandler
    from convoq.notify.opening import open_targets, target_finder

    database, queue, options = storage.database, storage.queue, loaded.options
    custom = load_custom(options.handlers, queue, base_dir=loaded.base_dir)
    stack.push_async_callback(personas.responder.close)
    await personas.warm()
    reload.prepare = personas.prepare
    responder = wrap(personas.responder, stack) if wrap else personas.responder
    wall = WallClock()
    channels = await stack.enter_async_context(open_channels(options, wall))
    phones = Phones(database, wall)
    airtime, rules = airtime_of(channels), turn_rules(options, personas)
    outbox, pacing = Outbox(database, wall, airtime), Pacing(database, airtime)
    delivery = Delivery(
        outbox, channels, database.clock, wall,
        reconcile_after=options.twilio.reconcile_after, request_timeout=options.twilio.timeout,
    )  # fmt: skip
    budgets = Budgets(database, wall, budget_rules(options.budgets))
    await budgets.begin_counting()
    answer = AnswerHandler(
        turns=Turns(database, wall, rules, airtime),
        costs=Costs(budgets, PriceList(options.prices, options.budgets.currency)),
        delivery=delivery,
        channels=channels,
        responder=responder,
        persona_of=personas.of,
        zone_of=personas.zone_of,
        timing=options.conversation,
        backoff=queue.backoff,
        clock=database.clock,
        wall=wall,
        sentences=Sentences(notices, round(options.notices.holding_after * 1000) or None),
        jobs=storage.jobs,
        disclosure=_disclosure(options, personas),
    )
    lifecycle = Lifecycle(database, wall, rules.handover.sentences)
    by_kind: dict[str, Handler] = {
        jobs.ReceiveMessage.kind: ReceiveHandler(
            Recorder(
                database,
                wall,
                rules.handover,
                _confirmations(options, personas),
                reopen_within=options.conversation.reopen_within,
                closing_phrases=options.conversation.closing_phrases,
                ours=[number.address for number in options.numbers],
            ),
            channels,
            storage.follow_ups,
        ),
        jobs.ProcessAiResponse.kind: answer,
        jobs.SendMessage.kind: send_message(outbox, delivery, channels),
        jobs.RecordDeliveryStatus.kind: record_delivery_status(outbox, channels, storage.follow_ups),
        jobs.SendAgain.kind: send_again(Resending(database, wall), storage.follow_ups),
        jobs.SendNotifications.kind: send_notifications(
            Notifications(database, wall),
            target_finder(await stack.enter_async_context(open_targets(options.notify)), phones, channels, pacing),
        ),
        jobs.AnswerOperator.kind: answer_operator(phones, Reading(database), channels, pacing),
        jobs.RunBulkAct.kind: run_bulk_act(BulkActs(database), storage.jobs, Reading(database)),
        jobs.ErasePeople.kind: erase_people(
            Erasure(
                Erasing(database), TextIndex(database), storage.jobs, database.clock, database.scrub, channel=CHANNEL
            ),
            Erasures(database),
            storage.follow_ups,
        ),
        jobs.ProcessIdle.kind: upkeep.process_idle(lifecycle, options.conversation, storage.follow_ups),
        jobs.ProcessExpired.kind: upkeep.process_expired(lifecycle, options.conversation, storage.follow_ups),
        jobs.ProcessHandovers.kind: upkeep.process_handovers(
            OwnerTimers(database, wall, rules.handover), storage.follow_ups
        ),
        jobs.WakeThreads.kind: upkeep.wake_threads(Repair(database), storage.follow_ups),
        jobs.CatchUp.kind: catch_up(
            CatchingUp(CatchUp(database), channels if options.twilio.catch_up else {}, queue.enqueue, wall)
        ),
        jobs.Housekeeping.kind: upkeep.housekeeping(
            storage.jobs,
            TextIndex(database),
            budgets,
            Retention(database, options.retention),
            database.tidy,
            options.queue,
        ),
    }
    return Handlers(
        by_kind | custom,
        together=frozenset({jobs.ReceiveMessage.kind, jobs.ProcessAiResponse.kind}),
        forgotten=frozenset({jobs.ProcessAiResponse.kind, jobs.AnswerOperator.kind}),
    )


def turn_rules(options: Options, personas: CurrentPersonas) -> TurnRules:
    """What the settings say of when a turn is due, in the store's units."""
    from convoq.conversations.loops import LoopRules
    from convoq.conversations.turn_steps import TurnRules

    return TurnRules(
        quiet_window=round(options.conversation.quiet_window * 1000),
        max_wait=round(options.conversation.max_wait * 1000),
        max_tries=options.queue.max_attempts,
        max_requests=options.ai.max_requests_per_message,
        max_output_tokens=options.ai.max_output_tokens_per_message,
        handover=_handover(options, personas),
        loops=LoopRules(options.loops.guard, options.loops.max_replies_per_hour),
    )


def _handover(options: Options, personas: CurrentPersonas) -> HandoverRules:
    """When a chat goes from one to the other by itself, and what is said then."""
    from convoq.conversations.handing_over import HandoverRules, HandoverSentences, Told
    from convoq.settings.notices import sentences

    given = options.handover
    texts = {told: sentences(options.notices, told.value) for told in Told}
    return HandoverRules(
        ai_may_ask=given.ai_may_ask,
        taken_within=round(given.taken_within * 1000),
        give_back_within=round(given.give_back_within * 1000),
        silent_within=round(given.silent_within * 1000),
        return_when_silent=given.return_when_silent,
        notes_to_model=given.notes_to_model,
        desk_of=personas.desk_of,
        sentences=HandoverSentences(
            texts, lambda address: personas.language_of(address) or options.notices.language, personas.handed_over_of
        ),
    )


def _confirmations(options: Options, personas: CurrentPersonas) -> Confirmations:
    """What a STOP is answered with where Twilio does not."""
    from convoq.conversations.confirming import Confirmations
    from convoq.settings.notices import sentences

    texts = sentences(options.notices, "opted_out")
    return Confirmations(texts, lambda address: personas.language_of(address) or options.notices.language)


def _disclosure(options: Options, personas: CurrentPersonas) -> Disclosure:
    """What tells a person that an AI answers."""
    from convoq.handlers.disclosing import Disclosure
    from convoq.settings.notices import sentences

    texts = sentences(options.notices, "ai_disclosure")
    return Disclosure(texts, lambda address: personas.language_of(address) or options.notices.language)


def _notices(options: Options, personas: CurrentPersonas) -> Notices:
    """What is said where there is no answer; the languages of the numbers change while the worker runs."""
    from convoq.conversations.notices import Notices, Silence
    from convoq.settings.notices import sentences

    texts = {silence: sentences(options.notices, silence.value) for silence in Silence}
    return Notices(texts, lambda address: personas.language_of(address) or options.notices.language)
