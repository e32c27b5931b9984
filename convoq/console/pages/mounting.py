"""The operators' pages on the console's listener, beside the API."""

from __future__ import annotations

from aiohttp import web

from convoq.api.connections import Limits
from convoq.console.door import Door
from convoq.console.endpoints import Site
from convoq.console.pages.gate import Gate, harden
from convoq.console.pages.rendering import favicon, page, static
from convoq.console.pages.signing_in import SigningIn
from convoq.console.pages.visitors import VISITOR
from convoq.conversations.sessions import Sessions


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
    app.router.add_get("/", _home)
    app.router.add_get("/inbox", _inbox)


async def _home(_: web.Request) -> web.Response:
    return web.Response(status=303, headers={"Location": "/inbox"})


async def _inbox(request: web.Request) -> web.Response:
    return page("inbox.html", request[VISITOR], {"place": "inbox"})
