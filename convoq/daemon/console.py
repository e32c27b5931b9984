"""The pages and the API for people and programs of ours as a role, on a listener of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from convoq.clock import WallClock
from convoq.conversations.operator_list import OperatorList
from convoq.conversations.settling import Settling
from convoq.daemon.process import Storage, open_storage
from convoq.daemon.reload import Reload
from convoq.daemon.supervision import Stop, supervised
from convoq.errors import ConfigError
from convoq.settings import Options, ServerSettings
from convoq.settings.load import Loaded

if TYPE_CHECKING:
    from convoq.console.endpoints import Site
    from convoq.console.errands import JobErrands


async def console(loaded: Loaded, stop: Stop, reload: Reload) -> None:
    """Answers until the stop is requested. Raises ConfigError while nobody could come in."""
    from convoq.api.server import serve as listen
    from convoq.console.api import ENDPOINTS
    from convoq.console.app import LIVE, create_app
    from convoq.console.errands import JobErrands
    from convoq.console.pages.mounting import FEED

    options = loaded.options
    errands = JobErrands()
    async with open_storage(options, lambda clock, wall: errands.around(Settling(clock, wall))) as storage:
        operators = await OperatorList(storage.database).all()
        if all(one.removed_at is not None for one in operators):
            raise ConfigError("there is no operator, so nobody could come in: convoq operators add NAME")
        app = create_app(_site(storage, options, errands), ENDPOINTS)
        server = await listen(app, _listener(options), section="console")
        status = f"listening on {', '.join(server.addresses)}"
        try:
            async with supervised(
                storage.database, "console", stop, lambda: status, reload=reload,
                address=server.addresses[0], config=loaded.config_path,
            ):  # fmt: skip
                await stop.requested.wait()
        finally:
            await asyncio.gather(app[FEED].close(), app[LIVE].close())  # open streams are not what a stop waits for
            await server.stop()


def _site(storage: Storage, options: Options, errands: JobErrands) -> Site:
    from convoq.console.endpoints import Site

    return Site(
        database=storage.database, jobs=storage.jobs, enqueuer=storage.queue, follow_ups=storage.follow_ups,
        options=options, wall=WallClock(), errands=errands,
    )  # fmt: skip


def _listener(options: Options) -> ServerSettings:
    console = options.console
    return ServerSettings(host=console.host, port=console.port, drain_timeout=console.drain_timeout, write_timeout=10.0)
