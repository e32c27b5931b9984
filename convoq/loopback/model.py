"""A model on the loopback interface: speaks OpenAI's and Anthropic's dialects over HTTP, and fails on demand."""

from __future__ import annotations

import asyncio
import enum
import json
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, Final, Self

from aiohttp import web

HUGE_BYTES: Final = 20 * 1024 * 1024


class Fault(enum.StrEnum):
    """What goes wrong with one answer."""

    HANG = "hang"  #: never answers
    SLOW = "slow"  #: answers well, after `delay` seconds
    DRIP = "drip"  #: a byte each 100 ms, so that no read timeout ever fires
    RESET = "reset"  #: the connection is reset
    TRUNCATED = "truncated"  #: the body ends before its announced length
    GARBAGE = "garbage"  #: 200 with JSON that is none
    WRONG_TYPES = "wrong_types"  #: 200 with valid JSON of the wrong shape
    HTML = "html"  #: 200 with a web page
    UTF16 = "utf16"  #: 200 with JSON in UTF-16, which clients may well read
    HUGE = "huge"  #: 200 with 20 MB that never become an answer
    COMPRESSED = "compressed"  #: 200, gzip that nobody asked for
    EMPTY = "empty"  #: an answer without text
    CUT = "cut"  #: the token limit ended the answer
    REFUSAL = "refusal"  #: the model refuses
    UNAUTHORIZED = "unauthorized"  #: 401
    NOT_FOUND = "not_found"  #: 404
    OVERFLOW = "overflow"  #: 400, the context is too long
    REJECTED = "rejected"  #: 400, for another reason
    RATE_LIMITED = "rate_limited"  #: 429 with Retry-After
    NO_CREDIT = "no_credit"  #: 429 or 400, the account is empty
    SERVER_ERROR = "server_error"  #: 500
    OVERLOADED = "overloaded"  #: 529


@dataclass(frozen=True, slots=True)
class ToolCall:
    """An answer that asks for a tool instead of saying something."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """One message as the model reads it, in either dialect."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that arrived."""

    dialect: str  #: openai or anthropic
    headers: dict[str, str]
    body: dict[str, Any]
    messages: tuple[Message, ...]  #: the system prompt first

    @property
    def system(self) -> str:
        return "\n".join(message.text for message in self.messages if message.role == "system")


Rule = Callable[[Sequence[Message]], str | ToolCall]


def echo(messages: Sequence[Message]) -> str:
    """The rule when none is given: says what was asked last."""
    return f"You said: {messages[-1].text}" if messages else "Nothing was said."


class LoopbackModel:
    """An HTTP model server for tests and benchmarks: a real model's wire without a real model.

    Answers by `reply`, a function of the messages. `fail(...)` makes the next requests go wrong, one fault each
    (None: that one goes well); `mode` makes all others go wrong until it is None again.
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
    ) -> None:
        self.reply = reply
        self.mode: Fault | None = None
        self.delay = delay
        self.retry_after = retry_after
        self.report_usage = report_usage
        self.requests: list[Asked] = []
        self.hung_up = asyncio.Event()  #: a client went away before its answer was complete
        self._faults: deque[Fault | None] = deque()
        self._arrived = asyncio.Condition()
        self._host, self._port = host, port
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._openai)
        app.router.add_post("/v1/messages", self._anthropic)
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

    def fail(self, *faults: Fault | None) -> None:
        """The next requests go wrong in these ways, in this order."""
        self._faults.extend(faults)

    async def wait_for_requests(self, count: int) -> None:
        """Returns once that many requests have arrived in all."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)

    async def _openai(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, _OpenAi())

    async def _anthropic(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, _Anthropic())

    async def _answer(self, request: web.Request, dialect: _Dialect) -> web.StreamResponse:
        body = await request.json()
        asked = Asked(dialect.name, dict(request.headers), body, tuple(dialect.messages(body)))
        fault = self._faults.popleft() if self._faults else self.mode
        async with self._arrived:
            self.requests.append(asked)
            self._arrived.notify_all()
        try:
            return await self._respond(request, dialect, asked, fault)
        except (asyncio.CancelledError, ConnectionError):
            self.hung_up.set()
            raise

    async def _respond(
        self, request: web.Request, dialect: _Dialect, asked: Asked, fault: Fault | None
    ) -> web.StreamResponse:
        if fault is not None and fault in _STATUSES:
            return self._refused(dialect, _STATUSES[fault], fault)
        if fault is Fault.HANG:
            await asyncio.Event().wait()
        if fault is Fault.SLOW:
            await asyncio.sleep(self.delay)
        payload = dialect.answer(self._said(asked, fault), asked, fault, self.report_usage)
        raw = json.dumps(payload).encode()
        match fault:
            case Fault.RESET:
                return _reset(request)
            case Fault.TRUNCATED:
                return await _send(request, raw[: len(raw) // 2], announce=len(raw))
            case Fault.DRIP:
                return await _drip(request, raw)
            case Fault.HUGE:
                return await _huge(request)
            case Fault.GARBAGE:
                return web.Response(body=b'{"id": "x", "choices": [{]', content_type="application/json")
            case Fault.WRONG_TYPES:
                return web.json_response(dict.fromkeys(payload, 17))
            case Fault.HTML:
                return web.Response(text="<html><body>Welcome to nginx!</body></html>", content_type="text/html")
            case Fault.UTF16:
                return web.Response(body=raw.decode().encode("utf-16"), content_type="application/json")
            case Fault.COMPRESSED:
                response = web.Response(body=raw, content_type="application/json")
                response.enable_compression(web.ContentCoding.gzip)
                return response
        return web.Response(body=raw, content_type="application/json")

    def _said(self, asked: Asked, fault: Fault | None) -> str | ToolCall:
        return "" if fault in (Fault.EMPTY, Fault.REFUSAL) else self.reply(asked.messages)

    def _refused(self, dialect: _Dialect, status: int, fault: Fault) -> web.Response:
        headers = {"Retry-After": f"{self.retry_after:g}"} if fault is Fault.RATE_LIMITED else {}
        return web.json_response(dialect.error(fault), status=status, headers=headers)


_STATUSES: Final[dict[Fault, int]] = {
    Fault.UNAUTHORIZED: 401,
    Fault.NOT_FOUND: 404,
    Fault.OVERFLOW: 400,
    Fault.REJECTED: 400,
    Fault.RATE_LIMITED: 429,
    Fault.NO_CREDIT: 429,
    Fault.SERVER_ERROR: 500,
    Fault.OVERLOADED: 529,
}


class _Dialect:
    name: str

    def messages(self, body: dict[str, Any]) -> list[Message]:
        raise NotImplementedError

    def answer(self, said: str | ToolCall, asked: Asked, fault: Fault | None, report_usage: bool) -> dict[str, Any]:
        raise NotImplementedError

    def error(self, fault: Fault) -> dict[str, Any]:
        raise NotImplementedError


class _OpenAi(_Dialect):
    name = "openai"

    def messages(self, body: dict[str, Any]) -> list[Message]:
        return [Message(_role(one["role"]), _text(one.get("content"))) for one in body["messages"]]

    def answer(self, said: str | ToolCall, asked: Asked, fault: Fault | None, report_usage: bool) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": said if isinstance(said, str) else None}
        finish_reason = {Fault.CUT: "length", Fault.REFUSAL: "content_filter"}.get(fault, "stop") if fault else "stop"
        if isinstance(said, ToolCall):
            function = {"name": said.name, "arguments": json.dumps(said.arguments)}
            message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
            finish_reason = "tool_calls"
        if fault is Fault.REFUSAL:
            message["refusal"] = "I cannot help with that."
        sent, received = _weigh(asked, said)
        usage = {"prompt_tokens": sent, "completion_tokens": received, "total_tokens": sent + received}
        return {
            "id": "chatcmpl-loopback",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": asked.body["model"],
            "choices": [{"index": 0, "finish_reason": finish_reason, "message": message}],
        } | ({"usage": usage} if report_usage else {})

    def error(self, fault: Fault) -> dict[str, Any]:
        message, kind, code = {
            Fault.UNAUTHORIZED: ("Incorrect API key provided: sk-lo***ck.", "invalid_request_error", "invalid_api_key"),
            Fault.NOT_FOUND: ("The model does not exist", "invalid_request_error", "model_not_found"),
            Fault.OVERFLOW: (
                "This model's maximum context length is 8192 tokens.",
                "invalid_request_error",
                "context_length_exceeded",
            ),
            Fault.REJECTED: ("Invalid value for 'temperature'.", "invalid_request_error", None),
            Fault.RATE_LIMITED: ("Rate limit reached.", "tokens", "rate_limit_exceeded"),
            Fault.NO_CREDIT: ("You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
            Fault.SERVER_ERROR: ("The server had an error.", "server_error", None),
            Fault.OVERLOADED: ("The engine is overloaded.", "server_error", "overloaded"),
        }[fault]
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}


class _Anthropic(_Dialect):
    name = "anthropic"

    def messages(self, body: dict[str, Any]) -> list[Message]:
        system = [Message("system", _text(body["system"]))] if body.get("system") else []
        return system + [Message(_role(one["role"]), _text(one["content"])) for one in body["messages"]]

    def answer(self, said: str | ToolCall, asked: Asked, fault: Fault | None, report_usage: bool) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "text", "text": said}] if isinstance(said, str) and said else []
        stop_reason = (
            {Fault.CUT: "max_tokens", Fault.REFUSAL: "refusal"}.get(fault, "end_turn") if fault else "end_turn"
        )
        if isinstance(said, ToolCall):
            content = [{"type": "tool_use", "id": "toolu_1", "name": said.name, "input": said.arguments}]
            stop_reason = "tool_use"
        sent, received = _weigh(asked, said) if report_usage else (0, 0)
        return {
            "id": "msg_loopback",
            "type": "message",
            "role": "assistant",
            "model": asked.body["model"],
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": {"input_tokens": sent, "output_tokens": received},
        }

    def error(self, fault: Fault) -> dict[str, Any]:
        kind, message = {
            Fault.UNAUTHORIZED: ("authentication_error", "invalid x-api-key"),
            Fault.NOT_FOUND: ("not_found_error", "model: unknown"),
            Fault.OVERFLOW: ("invalid_request_error", "prompt is too long: 9000 tokens > 8192 maximum"),
            Fault.REJECTED: ("invalid_request_error", "temperature: out of range"),
            Fault.RATE_LIMITED: ("rate_limit_error", "This request would exceed your rate limit."),
            Fault.NO_CREDIT: ("billing_error", "Your credit balance is too low."),
            Fault.SERVER_ERROR: ("api_error", "Internal server error"),
            Fault.OVERLOADED: ("overloaded_error", "Overloaded"),
        }[fault]
        return {"type": "error", "error": {"type": kind, "message": message}}


def _role(role: str) -> str:
    return "system" if role == "developer" else role


def _text(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(_text(part.get("text") or part.get("content")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _weigh(asked: Asked, said: str | ToolCall) -> tuple[int, int]:
    sent = sum(len(message.text) for message in asked.messages) // 4 + 1
    return sent, len(str(said)) // 4 + 1


def _reset(request: web.Request) -> web.Response:
    transport = request.transport
    if transport is not None:
        # Linger of zero seconds makes closing a reset instead of an orderly end.
        transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


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
