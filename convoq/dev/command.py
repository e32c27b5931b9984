"""`convoq dev`: the three roles under one command, against a Twilio of our own, with phones to write from."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from convoq import logs
from convoq.ai.endpoints import OFFLINE
from convoq.console.errands import JobErrands
from convoq.conversations.ceilings import budget_rules
from convoq.conversations.settling import Settling
from convoq.daemon.process import open_storage
from convoq.daemon.requirements import require
from convoq.daemon.schedule import build_scheduler
from convoq.daemon.serve import start_server
from convoq.daemon.supervision import Stop, signals, supervised
from convoq.db import Database
from convoq.dev.console import dev_console
from convoq.dev.exclusion import only_dev
from convoq.dev.facts import RunFacts, open_in_browser
from convoq.dev.page.app import PhonePage
from convoq.dev.page.colleague import Colleague
from convoq.dev.page.guard import require_loopback_host
from convoq.dev.worker import WorkerSupervisor
from convoq.errors import ConvoqError
from convoq.loopback.environment import Account, environment, reserved_port
from convoq.loopback.people import Phone, phones
from convoq.loopback.storage import TrialServers, own_storage, without_store
from convoq.loopback.switches import Switches
from convoq.loopback.twilio import LoopbackTwilio
from convoq.settings.load import Loaded, load

# The first two are short: a lost answer is asked for while a person watches.
TWILIO_TIMEOUT_SECONDS: Final = 3.0
RECONCILE_AFTER_SECONDS: Final = 1.5
WORKER_DRAIN_SECONDS: Final = 2.0
GRACE_SECONDS: Final = 15.0
CONFIG_VARIABLE: Final = "CONVOQ_CONFIG"

TOKENS_A_DAY: Final = 10_000_000  # that no person types for: a ceiling that the page's button can use up


@dataclass(frozen=True, slots=True, kw_only=True)
class DevArguments:
    """What the command line says."""

    config: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8025
    database: Path | None = None  #: None: in a temporary directory that is gone afterwards
    database_url: str | None = None  #: a server to play on, apart from what else is there; likewise:
    redis_url: str | None = None
    show: bool = False  #: open the page in a browser

    @property
    def servers(self) -> TrialServers:
        return TrialServers(database_url=self.database_url, redis_url=self.redis_url)


def run(arguments: DevArguments) -> None:
    """Stays up until a signal. The real Twilio is never reached, whatever is configured; the model is the real one.

    Raises ConvoqError with what stopped it.
    """
    require_loopback_host(arguments.host, arguments.port)
    asyncio.run(_main(arguments))


@contextmanager
def _database(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        yield kept.absolute()
        return
    directory = Path(tempfile.mkdtemp(prefix="convoq-dev-"))
    try:
        yield directory / "convoq.db"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _main(arguments: DevArguments) -> None:
    """One round after the other, each with an empty database, until a signal ends the last one."""
    stop = Stop(grace=GRACE_SECONDS)
    known: tuple[Phone, ...] = ()
    with signals(stop):  # also a closed terminal's: the worker is in another process group and does not get it
        while not stop.requested.is_set():
            with _database(arguments.database) as path:
                page = await _round(arguments, path, stop, known)
            # The open pages come back to the same address, and find the same people.
            known, arguments = page.phones, replace(arguments, port=page.port, show=False)
    if stop.error is not None:
        raise stop.error


async def _round(arguments: DevArguments, database: Path, stop: Stop, known: tuple[Phone, ...]) -> PhonePage:
    """Returns the page of a round that has ended, because of a signal or of the button that starts over."""
    over = asyncio.Event()
    async with AsyncExitStack() as stack:
        account = Account()
        twilio = await stack.enter_async_context(account.twilio())
        switches = await stack.enter_async_context(Switches(twilio))
        # Read anew in each round: the prompt or the settings may be why it was started over.
        own = account.settings(twilio.url) | _own_settings(stack.enter_context(reserved_port()))
        own |= await stack.enter_async_context(_storage(arguments, database, own))
        loaded, environ = _load(arguments.config, own)
        switches.model.counts = not RunFacts.of(loaded).models
        if not known:
            logs.configure(loaded.options.log.level, loaded.options.log.format, "dev")
        worker = WorkerSupervisor(environ, switches.url)
        page = await _start(stack, stop, loaded, twilio, switches, worker, arguments, over, known)
        sys.stdout.write(RunFacts.of(loaded).lines(page.address))
        sys.stdout.flush()
        if arguments.show:
            open_in_browser(page.address)
        await _either(stop.requested, over)
    return page


async def _either(*events: asyncio.Event) -> None:
    """Returns once one of them is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def _storage(
    arguments: DevArguments, database: Path, own: Mapping[str, str]
) -> AbstractAsyncContextManager[dict[str, str]]:
    """Never the installation's: its jobs would be taken and sent to the phones."""
    environ = environment(without_store(os.environ), own)
    told = load(arguments.config, environ=environ, overrides=arguments.servers.overrides).options
    return own_storage("dev", told, arguments.servers, database, kept=arguments.database is not None)


def _own_settings(port: int) -> dict[str, str]:
    return {
        "server.host": "127.0.0.1",
        "server.port": str(port),
        "server.public_url": f"http://127.0.0.1:{port}",
        "twilio.timeout": str(TWILIO_TIMEOUT_SECONDS),
        "twilio.reconcile_after": str(RECONCILE_AFTER_SECONDS),
        "work.drain_timeout": str(WORKER_DRAIN_SECONDS),
        "notify.events": "[]",  # the targets of the settings are real: what is played must not reach them
    }


def _load(config: Path | None, settings: dict[str, str]) -> tuple[Loaded, dict[str, str]]:
    """The settings of this process, and the environment that gives the worker the same."""
    environ = environment(without_store(os.environ), settings)
    loaded = load(config, environ=environ)
    usual = {"ai.model": OFFLINE} if loaded.options.ai.model is None else {}
    if "ai_may_ask" not in loaded.options.handover.model_fields_set:
        usual["handover.ai_may_ask"] = "true"  # who looks at the page is the colleague
    if loaded.options.budgets.tokens_per_contact_day is None:
        usual["budgets.tokens_per_contact_day"] = str(TOKENS_A_DAY)
    if usual:
        environ = environment(environ, usual)
        loaded = load(config, environ=environ)
    if loaded.file is not None:
        environ[CONFIG_VARIABLE] = str(loaded.file.absolute())
    require(loaded.options, "serve")
    require(loaded.options, "work")
    return loaded, environ


async def _start(
    stack: AsyncExitStack, stop: Stop, loaded: Loaded, twilio: LoopbackTwilio, switches: Switches,
    worker: WorkerSupervisor, arguments: DevArguments, over: asyncio.Event, known: tuple[Phone, ...],
) -> PhonePage:  # fmt: skip
    """Starts the roles and the page, whose button sets `over`; the stack ends them in the opposite order."""
    from convoq.channels.twilio.webhooks import inbound_url

    options = loaded.options
    errands = JobErrands()
    storage = await stack.enter_async_context(
        open_storage(options, lambda clock, wall: errands.around(Settling(clock, wall)))
    )
    database, queue, jobs, follow_ups = storage
    console = await stack.enter_async_context(dev_console(storage, options, errands, arguments.host))
    # A schema of its own is no other's: a file may be kept, and named by two.
    holder = await stack.enter_async_context(only_dev(database, jobs)) if isinstance(database, Database) else None
    page = PhonePage(
        phones=phones(options.numbers, known), database=database, jobs=jobs, follow_ups=follow_ups,
        budgets=budget_rules(options.budgets), twilio=twilio, switches=switches,
        desk=Colleague(database, follow_ups, options.handover), worker=worker,
        webhook_url=inbound_url(options.server.public_url or ""), facts=RunFacts.of(loaded),
        quiet_window=options.conversation.quiet_window, start_over=over.set if arguments.database is None else None,
        console=console,
    )  # fmt: skip
    await page.start(arguments.host, arguments.port)
    stack.push_async_callback(page.close)
    if holder is not None:
        holder.announce(page.address)
    server = await start_server(options, database, queue)
    stack.push_async_callback(server.stop)
    for role in ("serve", "schedule"):
        await stack.enter_async_context(supervised(database, role, stop, lambda: "part of convoq dev"))
    await stack.enter_async_context(_spawn(build_scheduler(options, database, queue).run(stop.requested), stop))
    await stack.enter_async_context(_spawn(worker.run(), stop))
    stack.push_async_callback(worker.stop, WORKER_DRAIN_SECONDS + 2.0)
    return page


@asynccontextmanager
async def _spawn(work: Coroutine[object, object, None], stop: Stop) -> AsyncIterator[None]:
    """A task that runs inside; its failure requests the stop."""

    async def guarded() -> None:
        try:
            await work
        except ConvoqError as error:
            stop.fail(error)

    task = asyncio.create_task(guarded())
    task.add_done_callback(lambda ended: None if ended.cancelled() or not ended.exception() else stop.request())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
