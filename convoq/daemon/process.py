"""A role as a process: from its settings to its exit, whatever the role does."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

from convoq import logs, systemd
from convoq.clock import Clock, WallClock
from convoq.daemon.loop import RoleLoop
from convoq.daemon.reload import Reload
from convoq.daemon.requirements import require
from convoq.daemon.supervision import Stop, signals
from convoq.db.opening import open_store
from convoq.db.store import Store
from convoq.errors import ConvoqError
from convoq.logs import log
from convoq.monitoring.roles import Role as RoleName
from convoq.queue.base import JobAdmin, Settle, settle_nothing
from convoq.queue.following import BeginFollowUps
from convoq.queue.opening import open_queue
from convoq.queue.service import QueueService
from convoq.settings import Options
from convoq.settings.load import Loaded, load

CLOSING_SECONDS = 9.0  # for closing, after the drain; systemd kills after ten
MOST_OPEN_FILES = 65_536

Role = Callable[[Loaded, Stop, Reload], Awaitable[None]]


class Storage(NamedTuple):
    """What a role keeps its promises in."""

    database: Store
    queue: QueueService
    jobs: JobAdmin
    follow_ups: BeginFollowUps


def run_role(
    name: RoleName,
    role: Role,
    config: Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    allow_offline: bool = False,
) -> int:
    """Loads what the role needs and runs it until a signal or its own end; returns the process's exit code.

    `overrides` are flags, as in settings.load; `allow_offline` lets a demo's rules answer real people.
    Raises ConvoqError with what kept it from starting or stopped it.
    """
    read = partial(load, config, overrides=overrides)
    check = partial(require, role=name, allow_offline=allow_offline)
    loaded = read()
    check(loaded.options)
    logs.configure(loaded.options.log.level, loaded.options.log.format, name, shield_printing=True)
    try:
        _run(role, loaded, Reload(loaded, read=read, check=check))
    except ConvoqError:
        raise
    except Exception:  # this is the end of the process, and the log says why
        # A service's log is what people look into: it gets the traceback that a terminal is spared.
        log.critical("role.crashed", exc_info=True)
        return 1
    return 0


def _run(role: Role, loaded: Loaded, reload: Reload) -> None:
    """Runs a role until a signal or its own end. Raises ConvoqError with what stopped it."""

    async def main(loop: RoleLoop) -> None:
        loop.set_exception_handler(_log_stray)
        _allow_many_files()
        options = loaded.options
        drains = (options.work.drain_timeout, options.server.drain_timeout, options.console.drain_timeout)
        grace = max(drains) + CLOSING_SECONDS
        stop = Stop(grace=grace, started=False)
        with signals(stop, hangup=reload.request if systemd.is_manager() else None), loop.running_role():
            await role(loaded, stop, reload)
        if stop.error is not None:
            raise stop.error

    with asyncio.Runner(loop_factory=RoleLoop) as runner:
        runner.run(main(cast(RoleLoop, runner.get_loop())))


@asynccontextmanager
async def open_storage(
    options: Options, settling: Callable[[Clock, Clock], Settle] | None = None
) -> AsyncIterator[Storage]:
    """The store and its queue as the settings say, created and migrated where needed.

    `settling` is for a role that ends jobs otherwise than by running them: of the queue's clock and the wall's.
    """
    async with open_store(options.database) as database:
        await database.make_room()
        settle = settle_nothing if settling is None else settling(database.clock, WallClock())
        async with open_queue(database, options, settle) as opened:
            yield Storage(database, QueueService(opened.queue, options.queue), opened.jobs, opened.follow_ups)


def _log_stray(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What asyncio has no caller for: an event like any other, not a traceback between the log's lines."""
    log.error("loop.error", message=context.get("message"), error=repr(context.get("exception")))


def _allow_many_files() -> None:
    """Raises the soft limit of open files to the hard one: connections are what it would run out on."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, MOST_OPEN_FILES), hard))
