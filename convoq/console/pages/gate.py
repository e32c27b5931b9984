"""Who may see a page: for a name that is ours, in a session that is valid now, by a form of ours."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from convoq.api.connections import CLIENT_ERRORS, Limits
from convoq.console.door import Door
from convoq.console.endpoints import BASE
from convoq.console.pages.cookies import cookie_name
from convoq.console.pages.forms import FormFields, read_form, require_form_token, require_same_origin
from convoq.console.pages.headers import HEADERS
from convoq.console.pages.refusals import PageRefused
from convoq.console.pages.rendering import page
from convoq.console.pages.visitors import VISITOR, Visitor, form_token
from convoq.console.problems import Problem
from convoq.console.uses import Uses
from convoq.conversations.ownership import ActRefused
from convoq.conversations.sessions import Sessions
from convoq.errors import DatabaseRefused, DatabaseUnavailable
from convoq.logs import log

#: `same-origin`: browsers without Sec-Fetch-Site then name the Origin of a form; nothing is told to other sites.
PAGE_HEADERS: Final = {
    **HEADERS, "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}  # fmt: skip
FORM_FIELDS: Final = web.RequestKey("form", FormFields)
LOGIN: Final = "/login"
EVENTS: Final = "/events"
#: What people send each other. Nothing else is gone on to: a path may be another site's address.
LINKED: Final = re.compile(r"/(?:inbox(?:/[0-9]{1,18})?)?")
#: Where nothing is told that needs a session.
OPEN: Final = (LOGIN, "/favicon.ico", "/static/")


def is_page(path: str) -> bool:
    return not path.startswith(f"{BASE}/")


async def harden(request: web.Request, response: web.StreamResponse) -> None:
    """Puts the headers on every page."""
    if is_page(request.path):
        response.headers.update(PAGE_HEADERS)


class Gate:
    def __init__(
        self, sessions: Sessions, door: Door, limits: Limits, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sessions = sessions
        self._door = door
        self._limits = limits
        self._uses = Uses(sessions.note_use, clock)

    @property
    def middleware(self) -> Any:
        @web.middleware
        async def middleware(request: web.Request, handler: Any) -> web.StreamResponse:
            return await (self._answer(request, handler) if is_page(request.path) else handler(request))

        return middleware

    async def close(self) -> None:
        await self._uses.close()

    async def _answer(self, request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            self._door.require_name(request)
            return await self._admitted(request, handler)
        except PageRefused as refused:
            return _refusal(request, refused.status, refused.sentence)
        except Problem as problem:
            return _refusal(request, problem.status, problem.detail)
        except ActRefused as refused:
            return _refusal(request, 409, f"It was not done: {refused}.")
        except (web.HTTPNotFound, LookupError):
            return _refusal(request, 404, "There is no such page, or what it showed is gone.")
        except web.HTTPMethodNotAllowed:
            return _refusal(request, 405, "This page takes no such request.")
        except CLIENT_ERRORS:
            raise
        except (DatabaseRefused, DatabaseUnavailable) as error:
            log.warning("console.unavailable", reason=str(error))
            return _refusal(request, 503, "The database cannot be used just now; the log says why. Try again.")
        except TimeoutError:
            return _refusal(request, 503, "It took too long. Look whether it was done before you try again.")
        except Exception:  # a bug is answered as a page too, and its traceback is the log's alone
            import traceback

            traceback.print_exc()
            log.exception("console.failed", path=ascii(request.path)[1:-1][:200])
            return _refusal(request, 500, "Something went wrong here; the log says what.")

    async def _admitted(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.match_info.http_exception is not None:
            raise request.match_info.http_exception
        changes = request.method not in ("GET", "HEAD")
        if changes:
            require_same_origin(request)
        secret = request.cookies.get(cookie_name(request), "")
        session = await self._sessions.find(secret)
        if session is not None:
            request[VISITOR] = Visitor(session, form_token(secret))
            if not _is_by_itself(request):
                self._uses.note(session.id)
        elif not request.path.startswith(OPEN):
            return _sign_in_first(request)
        if changes:
            form = await read_form(request, self._limits)
            if session is not None and request.path != LOGIN:
                require_form_token(form, request[VISITOR].form_token)
            request[FORM_FIELDS] = form
        response: web.StreamResponse = await handler(request)
        return response


def _is_by_itself(request: web.Request) -> bool:
    """What an open page asks for without its operator: that one may have gone long ago."""
    return request.headers.get("X-Requested-With") == "fetch" or request.path == EVENTS


def _sign_in_first(request: web.Request) -> web.StreamResponse:
    if request.method not in ("GET", "HEAD") or _is_by_itself(request):
        return _refusal(request, 401, "You are signed out: sign in, and do it again. Nothing was done.")
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site") and LINKED.fullmatch(request.path):
        # SameSite=Strict: no cookie comes with a link on another site's page. From a page of ours it does.
        response = page("bounce.html", None, {"target": request.rel_url.raw_path_qs})
        response.headers["Refresh"] = f"0; url={request.rel_url.raw_path_qs}"
        return response
    return web.Response(status=303, headers={"Location": LOGIN})


def _refusal(request: web.Request, status: int, sentence: str) -> web.Response:
    values = {"title": "Not done" if request.method == "POST" else "Not shown", "sentence": sentence}
    return page("refused.html", request.get(VISITOR), {**values, "place": None}, status=status)
