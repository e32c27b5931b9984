"""The composition root: builds each role from the settings, runs it until it is told to stop, closes in order."""

from __future__ import annotations

import asyncio
import os
import resource
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convoq import systemd
from convoq.clock import WallClock
from convoq.daemon.supervision import Stop, signals, supervised
from convoq.db import Database
from convoq.logs import log
from convoq.queue.service import QueueService
from convoq.queue.sqlite import SqliteBackend
from convoq.settings import Options
from convoq.settings.load import Loaded

if TYPE_CHECKING:
    from convoq.ai.base import Responder
    from convoq.api.server import RunningServer
    from convoq.handlers.base import Handlers

FAULTS_VARIABLE = "CONVOQ_DEV_FAULTS"  # `convoq dev` and `convoq demo` put the address of their fault switches here
CLOSING_TIME = 9.0  # seconds beyond the drain that closing may take; systemd kills after ten
MOST_OPEN_FILES = 65_536

Role = Callable[[Loaded, Stop], Awaitable[None]]


def run(role: Role, loaded: Loaded) -> None:
    """Runs a role until a signal or its own end. Raises ConvoqError with what stopped it."""

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(_log_stray)
        _allow_many_files()
        options = loaded.options
        stop = Stop(grace=max(options.work.drain_timeout, options.server.drain_timeout) + CLOSING_TIME)
        with signals(stop):
            await role(loaded, stop)
        if stop.error is not None:
            raise stop.error

    asyncio.run(main())


def _log_stray(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What asyncio could hand to nobody: an event like any other, not a traceback between the log's lines."""
    log.error("loop.error", message=context.get("message"), error=repr(context.get("exception")))


def _allow_many_files() -> None:
    """Raises the soft limit of open files to the hard one: connections are what it would run out on."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, MOST_OPEN_FILES), hard))


async def serve(loaded: Loaded, stop: Stop) -> None:
    """The webhook API: verify, enqueue, answer."""
    async with open_queue(loaded.options) as (database, queue):
        server = await start_server(loaded.options, database, queue)
        status = f"listening on {', '.join(server.addresses)}"
        try:
            async with supervised(database, "serve", stop, lambda: status, address=server.addresses[0]):
                await stop.requested.wait()
        finally:
            await server.stop()


async def schedule(loaded: Loaded, stop: Stop) -> None:
    """The scheduler: turns time into jobs."""
    async with (
        open_queue(loaded.options) as (database, queue),
        supervised(database, "schedule", stop, lambda: "scheduling"),
    ):
        await run_scheduler(loaded.options, database, queue, stop)


def work(*, drain: bool = False) -> Role:
    """The worker: claims and handles. With `drain` it ends when nothing is due any more."""

    async def role(loaded: Loaded, stop: Stop) -> None:
        from convoq.worker import WorkerStuck

        try:
            await _work(loaded, stop, drain=drain)
        except WorkerStuck:
            # The handler that can't be cancelled can't be waited for either: only a new process helps.
            log.error("worker.replaced")
            sys.stderr.flush()
            os._exit(WorkerStuck.exit_code)

    return role


async def _work(loaded: Loaded, stop: Stop, *, drain: bool) -> None:
    from convoq.worker import Worker

    options = loaded.options
    async with open_queue(options) as (database, queue), AsyncExitStack() as stack:
        worker = Worker(
            queue,
            await _handlers(loaded, database, queue, stack),
            name=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}",
            concurrency=options.work.concurrency,
            deadline=options.work.deadline,
            drain_timeout=options.work.drain_timeout,
        )

        def status() -> str:
            return f"{options.work.concurrency} slots, {worker.busy} busy"

        async with supervised(database, "work", stop, status):
            await worker.run(stop.requested, at_once=stop.at_once, drain=drain)


@asynccontextmanager
async def open_queue(options: Options) -> AsyncIterator[tuple[Database, QueueService]]:
    database = await Database.open(options.database.path, min_free_mb=options.database.min_free_mb)
    async with database, AsyncExitStack() as stack:
        backend = SqliteBackend(database)
        stack.push_async_callback(backend.close)
        yield database, QueueService(backend, options.queue)


async def start_server(options: Options, database: Database, queue: QueueService) -> RunningServer:
    from convoq.api.app import create_app
    from convoq.api.readiness import StorageReadiness
    from convoq.api.server import serve as listen
    from convoq.channels.twilio.signature import Verifier

    twilio = options.twilio
    tokens = [token.get_secret_value() for token in (twilio.auth_token, *twilio.auth_tokens) if token is not None]
    account_sid = twilio.account_sid or ""
    app = create_app(
        enqueuer=queue,
        verifier=Verifier(account_sid, tokens, options.server.public_url or ""),
        account_sid=account_sid,
        settings=options.server,
        readiness=StorageReadiness(database),
    )
    return await listen(app, options.server, sockets=systemd.listen_sockets())


async def run_scheduler(options: Options, database: Database, queue: QueueService, stop: Stop) -> None:
    from convoq.scheduler import Scheduler, SqlLedger, entries_from

    scheduler = Scheduler(
        queue,
        entries_from(options.schedules),
        SqlLedger(database),
        queue_clock=database.clock,
        wall_clock=WallClock(),
    )
    await scheduler.run(stop.requested)


async def _handlers(loaded: Loaded, database: Database, queue: QueueService, stack: AsyncExitStack) -> Handlers:
    """Every kind's handler, with what it needs; closed by the stack."""
    from convoq import jobs
    from convoq.channels.twilio.channel import TwilioChannel
    from convoq.conversations.outbox import Outbox
    from convoq.conversations.store import ConversationStore
    from convoq.handlers import upkeep
    from convoq.handlers.answer import AnswerHandler
    from convoq.handlers.base import Handlers
    from convoq.handlers.custom import load_custom
    from convoq.handlers.outbox import Delivery, record_delivery_status, send_message

    options = loaded.options
    custom = load_custom(options.handlers, queue, base_dir=_base_dir(loaded))
    responder = await _responder(loaded, stack)
    callback = f"{options.server.public_url.rstrip('/')}/twilio/status" if options.server.public_url else None
    channel = await TwilioChannel.create(options.twilio, status_callback=callback, clock=WallClock())
    stack.push_async_callback(channel.close)
    store, outbox = ConversationStore(database), Outbox(database)
    delivery = Delivery(
        outbox, channel, database.clock,
        reconcile_after=options.twilio.reconcile_after, request_timeout=options.twilio.timeout,
    )  # fmt: skip
    persona_by_address = {number.address: number.persona for number in options.numbers}
    answer = AnswerHandler(
        store=store,
        delivery=delivery,
        channel=channel,
        responder=responder,
        persona_of=lambda address: persona_by_address.get(address, "default"),
        timing=options.conversation,
        clock=database.clock,
    )
    return Handlers(
        {
            jobs.ProcessAiResponse.kind: answer,
            jobs.RecordDeliveryStatus.kind: record_delivery_status(outbox, channel),
            jobs.SendMessage.kind: send_message(store, delivery, channel),
            jobs.ProcessIdle.kind: upkeep.process_idle(store, options.conversation),
            jobs.ProcessExpired.kind: upkeep.process_expired(store, options.conversation),
            jobs.Housekeeping.kind: upkeep.housekeeping(queue.backend, database, options.queue),
            **custom,
        }
    )


async def _responder(loaded: Loaded, stack: AsyncExitStack) -> Responder:
    """The configured responder, loaded and checked, with the faults that `convoq dev` may ask for."""
    from convoq.ai import build_responder

    responder = build_responder(loaded.options.ai, loaded.options.personas, base_dir=_base_dir(loaded))
    stack.push_async_callback(responder.close)
    await responder.warm()
    if faults := os.environ.get(FAULTS_VARIABLE):
        from convoq.dev.faults import FaultyResponder

        faulty = FaultyResponder(responder, faults)
        stack.push_async_callback(faulty.close)
        return faulty
    return responder


def _base_dir(loaded: Loaded) -> Path:
    """Where relative paths of the configuration start."""
    return loaded.file.absolute().parent if loaded.file else Path.cwd()
