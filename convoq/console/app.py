"""The API's web application: names, tokens and roles before anything is read, and every error as a problem."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from aiohttp import HttpVersion11, web

from convoq.api.connections import CLIENT_ERRORS, Limits
from convoq.console.door import Door
from convoq.console.endpoints import BASE, Asked, Endpoint, NoBody, Site
from convoq.console.events import Events
from convoq.console.openapi import openapi_document
from convoq.console.pages.gate import is_page
from convoq.console.pages.mounting import mount
from convoq.console.problems import MEDIA_TYPE, Problem
from convoq.console.reading import JSON, read_json, read_key, read_query, read_version
from convoq.console.refusals import problem_of
from convoq.conversations.access import AccessRole, AccessToken, AccessTokens
from convoq.conversations.ownership import ActRefused
from convoq.errors import DatabaseRefused, DatabaseUnavailable
from convoq.logs import log
from convoq.operating.live import Live, LiveTimings
from convoq.text import masked

#: Less than the listener gives a request in all; then its program comes back.
LONGEST_STREAM: Final = 15.0
LIVE: Final = web.AppKey("live", Live)
#: Seconds for what a request asks for, once it has been read: less than the listener gives a request in all.
HANDLE_TIMEOUT: Final = 10.0

_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_TOKEN: Final = web.RequestKey("token", AccessToken)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create_app(
    site: Site, endpoints: Sequence[Endpoint], *, door: Door | None = None, limits: Limits | None = None,
    timeout: float = HANDLE_TIMEOUT, longest_stream: float = LONGEST_STREAM, timings: LiveTimings | None = None,
) -> web.Application:  # fmt: skip
    """No 2xx without its act on disk; without a valid token a request is told nothing but that."""
    console = site.options.console
    door = door or Door(AccessTokens(site.database), [console.host, *console.names])
    app = web.Application(middlewares=[_Guard(door).guard])
    live = Live(site.database, site.jobs, site.options, timings)
    app[LIVE] = live
    app.on_shutdown.append(lambda _: live.close())
    events = Events(site, live, longest=longest_stream)
    for endpoint in endpoints:
        handler = _Handler(site, endpoint, limits or Limits(), timeout, events)
        app.router.add_route(endpoint.method, BASE + endpoint.path, handler.handle, expect_handler=_expect)
    document = openapi_document(endpoints)

    async def openapi(_: web.Request) -> web.StreamResponse:
        return _response(200, document, JSON)

    app.router.add_route("GET", f"{BASE}/openapi.json", openapi, expect_handler=_expect)
    app.on_cleanup.append(lambda _: door.close())
    mount(app, site, door, limits or Limits())
    return app


class _Guard:
    def __init__(self, door: Door) -> None:
        self._door = door

    @property
    def guard(self) -> Any:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if is_page(request.path):
                return await handler(request)  # the pages have a gate of their own
            try:
                return await self._answer(request, handler)
            except Problem as problem:
                return _problem_response(request, problem)

        return guard

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._door.require_name(request)
            request[_TOKEN] = await self._door.admit(request)
            return await handler(request)
        except (Problem, *CLIENT_ERRORS):
            raise
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            raise Problem("method-not-allowed", f"only {allowed}", headers={"Allow": allowed}) from None
        except web.HTTPNotFound:
            raise Problem("not-found", f"there is no such resource: {BASE}/openapi.json lists them") from None
        except (DatabaseRefused, DatabaseUnavailable) as error:
            log.warning("console.unavailable", reason=str(error))
            raise _storage("it cannot be used just now; the log says why") from None
        except TimeoutError:
            raise _storage(
                "it did not answer in time: whether it was done, the same request with its key tells"
            ) from None
        except Exception:  # a bug is answered as a problem too, and its traceback is the log's alone
            log.exception("console.failed", path=ascii(request.path)[1:-1][:200])
            raise Problem("internal", "the log says what") from None


class _Handler:
    """One endpoint as a request handler."""

    def __init__(self, site: Site, endpoint: Endpoint, limits: Limits, timeout: float, events: Events) -> None:
        self._site = site
        self._events = events
        self._endpoint = endpoint
        self._limits = limits
        self._timeout = timeout

    async def handle(self, request: web.Request) -> web.StreamResponse:
        token = request[_TOKEN]
        require_role(token, self._endpoint.role)
        asked = await self._read(request, token)
        if self._endpoint.handle is None:
            return await self._events.stream(request, asked)
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._endpoint.handle(self._site, asked)
        except ActRefused as refused:
            raise problem_of(refused, self._endpoint.problems) from None
        except LookupError as error:
            raise Problem("not-found", str(error)) from None
        # What the document promises is what is answered, also where the two are written apart.
        self._endpoint.answer.model_validate(answer.document)
        document = answer.document if token.role is not AccessRole.VIEWER else mask_all(answer.document)
        return _response(self._endpoint.status, document, JSON, answer.headers)

    async def _read(self, request: web.Request, token: AccessToken) -> Asked[Any, Any]:
        endpoint = self._endpoint
        query = read_query(request, endpoint.query)
        version = read_version(request) if endpoint.needs_version else None
        key = read_key(request, required=endpoint.needs_key) if endpoint.takes_key else None
        body: Any = NoBody()
        if endpoint.method != "GET":
            body = await read_json(request, endpoint.body, self._limits)
        asks = f"{endpoint.method} {request.path} {body.model_dump_json()}"
        return Asked(
            token=token, path=request.match_info, query=query, body=body, key=key, version=version,
            fingerprint=sha256(asks.encode()).hexdigest(),
        )  # fmt: skip


def require_role(token: AccessToken, role: AccessRole) -> None:
    """Raises Problem."""
    if not token.role.includes(role):
        raise Problem("role", f"this is for {role}s, and the token is a {token.role}'s")


def mask_all(value: Any) -> Any:
    """Every number in every text of it, be the text ours or a person's own."""
    match value:
        case str():
            return masked(value)
        case Mapping():
            return {name: mask_all(item) for name, item in value.items()}
        case list() | tuple():
            return [mask_all(item) for item in value]
        case _:
            return value


def _storage(detail: str) -> Problem:
    return Problem("storage", detail, headers={"Retry-After": "2"})


def _problem_response(request: web.Request, problem: Problem) -> web.StreamResponse:
    token = request.get(_TOKEN)
    sees_numbers = token is not None and token.role is not AccessRole.VIEWER
    document = problem.document()
    return _response(problem.status, document if sees_numbers else mask_all(document), MEDIA_TYPE, problem.headers)


def _response(
    status: int, document: Mapping[str, Any], media_type: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    # In ASCII: whatever people have written is the same in every charset.
    body = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    return web.Response(status=status, body=body, content_type=media_type, headers={**_HEADERS, **(headers or {})})


async def _expect(request: web.Request) -> web.StreamResponse | None:
    """As aiohttp's own, but for the problem."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        return _problem_response(request, Problem("expectation", "only 100-continue is known"))
    if request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    return None
