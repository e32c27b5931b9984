"""The operators' console beside the phones: the same pages as in production, for an operator of the run's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from convoq.clock import WallClock
from convoq.conversations.access import AccessRole
from convoq.conversations.acts import Acts
from convoq.conversations.operator_list import OperatorList, find_operator
from convoq.conversations.sessions import make_secret
from convoq.dev.page.colleague import NAME
from convoq.settings import Options, ServerSettings

if TYPE_CHECKING:
    from convoq.console.errands import JobErrands
    from convoq.daemon.process import Storage
    from convoq.db.store import Store

DRAIN_SECONDS: Final = 1.0

#: An address that signs a browser in, once.
MakeLink = Callable[[], Awaitable[str]]


@asynccontextmanager
async def dev_console(storage: Storage, options: Options, errands: JobErrands, host: str) -> AsyncIterator[MakeLink]:
    """Inside, it answers on a port of its own. The operator is added with the first link: until then any may act."""
    from convoq.api.server import serve
    from convoq.console.api import ENDPOINTS
    from convoq.console.app import LIVE, create_app
    from convoq.console.endpoints import Site
    from convoq.console.pages.mounting import FEED

    site = Site(
        database=storage.database, jobs=storage.jobs, enqueuer=storage.queue, follow_ups=storage.follow_ups,
        options=options, wall=WallClock(), errands=errands,
    )  # fmt: skip
    app = create_app(site, ENDPOINTS)
    settings = ServerSettings(host=host, port=0, drain_timeout=DRAIN_SECONDS, write_timeout=10.0)
    server = await serve(app, settings, section="console")
    try:
        yield lambda: _link(storage.database, server.addresses[0])
    finally:
        await asyncio.gather(app[FEED].close(), app[LIVE].close())
        await server.stop()


async def _link(database: Store, address: str) -> str:
    acts, secret = Acts(database, WallClock(), NAME, lambda *_: None), make_secret()
    known = find_operator(await OperatorList(database).all(), NAME)
    if known is None or known.removed_at is not None:
        await acts.add_operator(NAME)
    await acts.issue_link(secret, NAME, AccessRole.ADMIN)
    return f"http://{address}/login?code={secret}"
