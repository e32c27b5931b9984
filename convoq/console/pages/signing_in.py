"""Signing in by a link that works once, and signing out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from aiohttp import web

from convoq.api.throttle import Throttle
from convoq.console.door import FAILURES_AT_ONCE, SECONDS_A_FAILURE
from convoq.console.pages.cookies import delete_cookie, set_cookie
from convoq.console.pages.gate import FORM_FIELDS, LOGIN
from convoq.console.pages.rendering import page
from convoq.console.pages.visitors import VISITOR
from convoq.conversations.sessions import Sessions
from convoq.logs import log
from convoq.text import printable

SIGNED_OUT: Final = "signed-out"


class SigningIn:
    """A look at the link uses nothing up, so that a program that previews links takes none away; the button does."""

    def __init__(self, sessions: Sessions, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._sessions = sessions
        self._failures = Throttle(clock, burst=FAILURES_AT_ONCE, every=SECONDS_A_FAILURE)
        self._lines = Throttle(clock)

    def add_to(self, app: web.Application) -> None:
        app.router.add_get(LOGIN, self.show)
        app.router.add_post(LOGIN, self.sign_in)
        app.router.add_post("/logout", self.sign_out)

    async def show(self, request: web.Request) -> web.Response:
        code = request.query.get("code", "")
        link = await self._sessions.link(code) if code else None
        if code and link is None:
            return self._fail(request)
        visitor = request.get(VISITOR)
        state = SIGNED_OUT if SIGNED_OUT in request.query and visitor is None else ""
        return page("login.html", None, {"link": link, "code": code, "state": state, "known": visitor})

    async def sign_in(self, request: web.Request) -> web.Response:
        agent = printable(request.headers.get("User-Agent", ""))
        made = await self._sessions.sign_in(request[FORM_FIELDS].get("code", ""), agent)
        if made is None:
            return self._fail(request)
        secret, session = made
        if (before := request.get(VISITOR)) is not None:
            await self._sessions.sign_out(before.session)
        log.info("console.signed_in", operator=session.operator, role=str(session.role), peer=request.remote)
        response = web.Response(status=303, headers={"Location": "/"})
        set_cookie(request, response, secret)
        return response

    async def sign_out(self, request: web.Request) -> web.Response:
        await self._sessions.sign_out(request[VISITOR].session)
        response = web.Response(
            status=303, headers={"Location": f"{LOGIN}?{SIGNED_OUT}", "Clear-Site-Data": '"storage"'}
        )
        delete_cookie(request, response)
        return response

    def _fail(self, request: web.Request) -> web.Response:
        held_back = self._lines.admit()
        if held_back is not None:
            reason = "its sign-in link is not valid"
            log.warning("console.refused", reason=reason, peer=request.remote, held_back=held_back)
        slowed = self._failures.admit() is None
        values = {"link": None, "code": "", "state": "slow" if slowed else "used", "known": request.get(VISITOR)}
        response = page("login.html", None, values, status=429 if slowed else 401)
        if slowed:
            response.headers["Retry-After"] = str(round(SECONDS_A_FAILURE))
        return response
