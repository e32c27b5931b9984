"""The operators' pages on the console's listener, beside the API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp import web

from convoq.api.connections import Limits
from convoq.console.door import Door
from convoq.console.endpoints import Site
from convoq.console.pages import chat, chat_acts, jobs, now, turn
from convoq.console.pages.feed import Feed, PageState
from convoq.console.pages.gate import EVENTS, Gate, harden
from convoq.console.pages.rendering import favicon, static
from convoq.console.pages.signing_in import SigningIn
from convoq.conversations.marks import read_marks
from convoq.conversations.sessions import Sessions

POLL_SECONDS: Final = 0.5  # so that a tab gets at most two frames a second
#: Less than the listener gives a request; then the browser comes back, and the session is looked at again.
LONGEST_STREAM: Final = 15.0
RECONNECT_MS: Final = 300
HANDLE_TIMEOUT: Final = 10.0
FEED: Final = web.AppKey("feed", Feed)

Handle = Callable[..., Awaitable[web.Response]]


def mount(app: web.Application, site: Site, door: Door, limits: Limits) -> None:
    """Every path of `app` outside the API is theirs."""
    sessions = Sessions(site.database)
    gate = Gate(sessions, door, limits)
    app.middlewares.append(gate.middleware)
    app.on_response_prepare.append(harden)
    app.on_cleanup.append(lambda _: gate.close())
    app.router.add_get("/static/{name}", static)
    app.router.add_get("/favicon.ico", favicon)
    SigningIn(sessions).add_to(app)
    feed = Feed(
        site.database, lambda: _look(site), poll=POLL_SECONDS, longest=LONGEST_STREAM, reconnect_ms=RECONNECT_MS
    )
    app[FEED] = feed
    app.on_shutdown.append(lambda _: feed.close())
    app.router.add_get(EVENTS, feed.stream)
    for method, path, handle in _ROUTES:
        app.router.add_route(method, path, _on(site, handle))


def _on(site: Site, handle: Handle) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def on_site(request: web.Request) -> web.Response:
        async with asyncio.timeout(HANDLE_TIMEOUT):
            return await handle(site, request)

    return on_site


async def _look(site: Site) -> PageState:
    return {"marks": await site.database.read(read_marks)}


_ROUTES: Final[Sequence[tuple[str, str, Handle]]] = (
    ("GET", "/", now.show_now),
    ("POST", "/pause", now.pause),
    ("GET", "/jobs", jobs.show_jobs),
    ("POST", "/jobs/retry", jobs.retry_cause),
    ("GET", "/jobs/{id:[0-9]+}", jobs.show_job),
    ("POST", "/jobs/{id:[0-9]+}/retry", jobs.retry_job),
    ("GET", "/inbox", chat.show_inbox),
    ("GET", "/inbox/{id:[0-9]+}", chat.show_chat),
    ("GET", "/inbox/{id:[0-9]+}/turns/{message:[0-9]+}", turn.show_turn),
    ("POST", "/inbox/{id:[0-9]+}/reply", chat_acts.reply),
    ("POST", "/inbox/{id:[0-9]+}/note", chat_acts.note),
    ("POST", "/inbox/{id:[0-9]+}/template", chat_acts.template),
    ("POST", "/inbox/{id:[0-9]+}/owner", chat_acts.owner),
    ("POST", "/inbox/{id:[0-9]+}/close", chat_acts.close),
    ("POST", "/inbox/{id:[0-9]+}/reopen", chat_acts.reopen),
    ("POST", "/inbox/{id:[0-9]+}/block", chat_acts.block),
    ("POST", "/inbox/{id:[0-9]+}/pause", chat_acts.pause),
    ("POST", "/inbox/{id:[0-9]+}/number", chat_acts.show_number),
)
