"""A real HTTP server that takes webhooks, and answers as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from convoq.notify.signing import signature
from convoq.settings.notify import signing_key

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Delivered:
    """One POST, whose signature is right."""

    message_id: str
    document: dict[str, Any]

    @property
    def type(self) -> str:
        return str(self.document["type"])

    @property
    def data(self) -> dict[str, Any]:
        return dict(self.document["data"])


@dataclass
class Endpoint:
    url: str = ""
    taken: list[Delivered] = field(default_factory=list)  #: answered with a 2xx
    tried: list[Delivered] = field(default_factory=list)
    script: list[int | Answer] = field(default_factory=list)  #: of the next answers; then 204
    always: int | Answer = 204
    paths: list[str] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.paths.append(request.path)
        delivered = Delivered(request.headers["webhook-id"], json.loads(body))
        stamp = request.headers["webhook-timestamp"]
        assert request.headers["webhook-signature"] == signature(
            signing_key(SECRET), delivered.message_id, int(stamp), body
        )
        self.tried.append(delivered)
        answer = self.script.pop(0) if self.script else self.always
        response = web.Response(status=answer) if isinstance(answer, int) else await answer(request)
        if 200 <= response.status < 300:
            self.taken.append(delivered)
        return response


@asynccontextmanager
async def open_endpoint() -> AsyncIterator[Endpoint]:
    endpoint, app = Endpoint(), web.Application(client_max_size=1 << 20)
    app.router.add_route("*", "/{path:.*}", endpoint.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        endpoint.url = f"http://{host}:{port}/hook?key=geheim"
        yield endpoint
    finally:
        await runner.cleanup()


def saying(status: int, text: str = "", **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, text=text, headers=given)

    return answer


async def hanging(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def dripping(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"so")
    return await hanging(request)


class Endless:
    """Sends as much as is taken, up to 20 MB."""

    def __init__(self) -> None:
        self.sent = 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        while self.sent < 20_000_000:
            await response.write(b"x" * 65_536)
            self.sent += 65_536
        return response
