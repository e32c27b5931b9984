"""A model on the loopback interface: speaks OpenAI's and Anthropic's dialects over HTTP, and fails on demand."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Self

from aiohttp import web

from convoq.loopback.dialects import Anthropic, ChatMessage, Dialect, OpenAi, RecordedRequest, ToolCall
from convoq.loopback.faults import ModelFault, reset_connection

HUGE_BYTES: Final = 20 * 1024 * 1024

Rule = Callable[[Sequence[ChatMessage]], str | ToolCall]


def echo(messages: Sequence[ChatMessage]) -> str:
    """The rule when none is given: says what was asked last."""
    return f"You said: {messages[-1].text}" if messages else "Nothing was said."


class LoopbackModel:
    """An HTTP model server for tests and benchmarks: a real model's wire without a real model.

    Answers by `reply`, a function of the messages. `fail(...)` makes the next requests go wrong, one fault each
    (None: that one goes well); `mode` makes all others go wrong until it is None again, `mode_of` those that it names.
    """

    def __init__(
        self,
        reply: Rule = echo,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        delay: float = 0.2,
        retry_after: float = 7,
        report_usage: bool = True,
        context_tokens: int | None = None,
        loaded: Mapping[str, int] | None = None,
    ) -> None:
        self.reply = reply
        self.mode: ModelFault | None = None
        self.mode_of: Callable[[Sequence[ChatMessage]], ModelFault | None] | None = None
        self.delay = delay  #: seconds
        self.retry_after = retry_after  #: seconds
        self.report_usage = report_usage
        self.context_tokens = context_tokens  #: what does not fit is refused, the room for the answer counted in
        self.loaded = loaded  #: models and the tokens that they have room for, as Ollama lists them; None: it is none
        self.requests: list[RecordedRequest] = []
        self.hung_up = asyncio.Event()  #: a client went away before its answer was complete
        self._faults: deque[ModelFault | None] = deque()
        self._arrived = asyncio.Condition()
        self._host, self._port = host, port
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", partial(self._answer, dialect=OpenAi()))
        app.router.add_post("/v1/messages", partial(self._answer, dialect=Anthropic()))
        if self.loaded is not None:
            app.router.add_get("/api/ps", self._list_loaded)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def base_url(self) -> str:
        """What goes into ai.base_url, for either dialect."""
        return f"http://{self._host}:{self._port}/v1"

    def fail(self, *faults: ModelFault | None) -> None:
        """The next requests go wrong in these ways, in this order."""
        self._faults.extend(faults)

    async def wait_for_requests(self, count: int) -> None:
        """Returns once that many requests have arrived in all."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)

    async def _list_loaded(self, _: web.Request) -> web.Response:
        models = [{"name": name, "context_length": room} for name, room in (self.loaded or {}).items()]
        return web.json_response({"models": models})

    async def _answer(self, request: web.Request, dialect: Dialect) -> web.StreamResponse:
        body = await request.json()
        recorded = RecordedRequest(dialect.name, dict(request.headers), body, tuple(dialect.messages(body)))
        fault = self._faults.popleft() if self._faults else self.mode
        if fault is None and self.mode_of is not None:
            fault = self.mode_of(recorded.messages)
        async with self._arrived:
            self.requests.append(recorded)
            self._arrived.notify_all()
        try:
            return await self._respond(request, dialect, recorded, fault)
        except (asyncio.CancelledError, ConnectionError):
            self.hung_up.set()
            raise

    async def _respond(
        self, request: web.Request, dialect: Dialect, recorded: RecordedRequest, fault: ModelFault | None
    ) -> web.StreamResponse:
        if self.context_tokens is not None and dialect.needs(recorded) > self.context_tokens:
            fault = ModelFault.OVERFLOW
        if fault is not None and fault in _STATUSES:
            headers = {"Retry-After": f"{self.retry_after:g}"} if fault is ModelFault.RATE_LIMITED else {}
            return web.json_response(dialect.error(fault), status=_STATUSES[fault], headers=headers)
        if fault is ModelFault.HANG:
            await asyncio.Event().wait()
        if fault is ModelFault.SLOW:
            await asyncio.sleep(self.delay)
        reply = "" if fault in (ModelFault.EMPTY, ModelFault.REFUSAL) else self.reply(recorded.messages)
        payload = dialect.answer(reply, recorded, fault, self.report_usage)
        raw = json.dumps(payload).encode()
        match fault:
            case ModelFault.RESET:
                reset_connection(request)
                return web.Response()
            case ModelFault.TRUNCATED:
                return await _send(request, raw[: len(raw) // 2], announce=len(raw))
            case ModelFault.DRIP:
                return await _drip(request, raw)
            case ModelFault.HUGE:
                return await _huge(request)
            case ModelFault.GARBAGE:
                return web.Response(body=b'{"id": "x", "choices": [{]', content_type="application/json")
            case ModelFault.WRONG_TYPES:
                return web.json_response(dict.fromkeys(payload, 17))
            case ModelFault.HTML:
                return web.Response(text="<html><body>Welcome to nginx!</body></html>", content_type="text/html")
            case ModelFault.UTF16:
                return web.Response(body=raw.decode().encode("utf-16"), content_type="application/json")
            case ModelFault.COMPRESSED:
                response = web.Response(body=raw, content_type="application/json")
                response.enable_compression(web.ContentCoding.gzip)
                return response
        return web.Response(body=raw, content_type="application/json")


_STATUSES: Final[dict[ModelFault, int]] = {
    ModelFault.UNAUTHORIZED: 401,
    ModelFault.NOT_FOUND: 404,
    ModelFault.OVERFLOW: 400,
    ModelFault.NO_TOOLS: 400,
    ModelFault.REJECTED: 400,
    ModelFault.RATE_LIMITED: 429,
    ModelFault.NO_CREDIT: 429,
    ModelFault.SERVER_ERROR: 500,
    ModelFault.OVERLOADED: 529,
}


async def _send(request: web.Request, raw: bytes, *, announce: int) -> web.StreamResponse:
    response = _announced(announce)
    await response.prepare(request)
    await response.write(raw)
    if request.transport is not None:
        request.transport.close()
    return response


async def _drip(request: web.Request, raw: bytes) -> web.StreamResponse:
    response = _announced(len(raw))
    await response.prepare(request)
    for position in range(len(raw)):
        await response.write(raw[position : position + 1])
        await asyncio.sleep(0.1)
    return response


async def _huge(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"id": "')
    chunk = b"x" * 65536
    for _ in range(HUGE_BYTES // len(chunk)):
        await response.write(chunk)
    await response.write_eof()
    return response


def _announced(length: int) -> web.StreamResponse:
    return web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(length)})
