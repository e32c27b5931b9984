"""Cuts connections that waste a place, and answers what isn't HTTP with a plain 4xx."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from convoq.logs import log

BUSY_ANSWER: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 21\r\nRetry-After: 2\r\nConnection: close\r\n\r\n"
    b"too many connections\n"
)
RESISTANCE: Final = 0.5  # seconds that stop() waits for handlers which do not give up when they are cancelled
# What the other side's bytes, or its going away, can make a request's payload raise.
STRANGERS_DOING: Final = (HttpProcessingError, web.RequestPayloadError, ConnectionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one listener. Sizes are bytes, times are seconds; a time is kept to within two sweeps."""

    body: int = 65_536  #: Twilio's forms are a few kilobytes
    body_time: float = 5.0  #: from the request's head to the end of its body
    head_time: float = 10.0  #: from the first byte, or the connection, to a complete head
    idle_time: float = 75.0  #: between two requests; longer than the proxies' own 60
    request_time: float = 20.0  #: one request in all; more where the write's own deadline needs it
    linger_time: float = 3.0  #: for an answer to reach somebody who is still sending
    connections: int = 1000
    sweep_every: float = 1.0


class Stage(enum.Enum):
    """What a connection is at."""

    HEAD = enum.auto()  #: its first request, or one that has begun, is not here yet
    BODY = enum.auto()  #: the rest of a request is not here yet
    BUSY = enum.auto()  #: a whole request is being handled or answered
    LINGER = enum.auto()  #: it has its answer and is still sending
    IDLE = enum.auto()  #: between two requests


# Whom a newcomer may replace in a full house: strangers first, then a proxy's kept-alive connections, never a request.
REPLACEABLE: Final = (Stage.HEAD, Stage.LINGER, Stage.BODY, Stage.IDLE)


class Connection(web.RequestHandler):
    """One client. It observes how far its requests have come, and is never the cause of a traceback."""

    __slots__ = ("_head_begun", "_seen", "_seen_at", "_served", "task")
    _manager: ConnectionServer | None
    task: asyncio.Task[None] | None  #: what handles its requests, also after the client has gone

    def __init__(self, manager: ConnectionServer, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(manager, loop=loop, **options)
        self.task = None
        self._served = 0
        self._head_begun = False
        self._seen: tuple[int, Stage] | None = None
        self._seen_at = 0.0

    @property
    def stage(self) -> Stage:
        if self._waiting:
            return Stage.HEAD if self._head_begun or not self._served else Stage.IDLE
        if self._served == self._request_count:
            return Stage.LINGER
        request = self._current_request
        return Stage.BUSY if request is None or request.content.is_eof() else Stage.BODY

    def time_at_stage(self, now: float) -> float:
        """Seconds for which this was seen to stand still. Only the sweep calls it, so requests pay nothing."""
        seen = (self._served, self.stage)
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        return now - self._seen_at

    def cut(self) -> None:
        """Ends the connection at once, also when its peer doesn't read and its handler hangs."""
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()
        if self.task is not None:
            self.task.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.task = self._task_handler

    def connection_lost(self, exc: BaseException | None) -> None:
        lingering = self.stage is Stage.LINGER
        super().connection_lost(exc)
        if lingering and self.task is not None:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._head_begun = self._waiting

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        resp.headers.setdefault("Server", "convoq")
        if self._manager is not None and self._manager.draining and not self._messages:
            resp.force_close()
        finished = await super().finish_response(request, resp, start_time)
        self._served += 1
        return finished

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's signature
    ) -> web.StreamResponse:
        if status < 500 or isinstance(exc, STRANGERS_DOING):
            answer = web.Response(status=400, text="not a request that this server understands\n")
        else:
            log.error("request.failed", exc_info=exc)
            answer = web.Response(status=503, text="something went wrong here\n", headers={"Retry-After": "2"})
        if request.writer.output_size > 0:
            raise ConnectionResetError("the answer had already begun")
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, **options: Any) -> None:  # noqa: ARG002 - aiohttp's signature
        error = options.get("exc_info")
        if not isinstance(error, STRANGERS_DOING):
            log.error("connection.failed", exc_info=error)

    @property
    def _waiting(self) -> bool:
        return self._waiter is not None and not self._waiter.done() and not self._messages


class ConnectionServer(web.Server):
    """Makes the connections, holds their number and their patience, and drains them on stop.

    A full house makes room for a newcomer by cutting somebody who is not being served, so strangers who only hold
    connections open cannot shut Twilio out.
    """

    def __init__(self, handler: Any, *, limits: Limits, **options: Any) -> None:
        super().__init__(handler, **options)
        self._limits = limits
        self._patience = {
            Stage.HEAD: limits.head_time,
            Stage.BODY: limits.request_time,
            Stage.BUSY: limits.request_time,
            Stage.LINGER: limits.request_time,
            Stage.IDLE: limits.idle_time,
        }
        self._empty = asyncio.Event()
        self._empty.set()
        self.draining = False

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        if len(self._connections) >= self._limits.connections and not self._make_room():
            transport.write(BUSY_ANSWER)
            handler.force_close()
        super().connection_made(handler, transport)
        self._empty.clear()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        if isinstance(handler, Connection) and handler.task is not None:
            handler.task.add_done_callback(lambda _: self._note_whether_empty())
        self._note_whether_empty()

    async def sweep(self) -> None:
        """Cuts who has stood still for too long, until cancelled."""
        while True:
            await asyncio.sleep(self._limits.sweep_every)
            self._cut(self._has_stood_still)

    async def drain(self, timeout: float) -> None:
        """Lets open requests finish within `timeout`. Idle connections end at once, and in the end all do.

        Somebody who has connected but not yet sent a whole request gets a second: it may be on its way.
        """
        self.draining = True
        now = self._loop.time()
        self._cut(lambda connection: connection.stage is Stage.IDLE)
        await self._emptied(now + min(1.0, timeout))
        self._cut(lambda connection: connection.stage in (Stage.HEAD, Stage.LINGER, Stage.IDLE))
        await self._emptied(now + timeout)
        self._cut(lambda _: True)
        await self._emptied(self._loop.time() + RESISTANCE)

    def _make_room(self) -> bool:
        waiting = [one for one in self._clients() if one.connected and one.stage in REPLACEABLE]
        if waiting:
            min(waiting, key=lambda one: REPLACEABLE.index(one.stage)).cut()
        return bool(waiting)

    def _has_stood_still(self, connection: Connection) -> bool:
        return connection.time_at_stage(self._loop.time()) > self._patience[connection.stage]

    def _cut(self, condition: Callable[[Connection], bool]) -> None:
        for connection in self._clients():
            if condition(connection):
                connection.cut()

    def _clients(self) -> list[Connection]:
        return [one for one in self._connections if isinstance(one, Connection)]

    async def _emptied(self, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self._empty.wait()
        except TimeoutError:
            return

    def _note_whether_empty(self) -> None:
        if not self._connections:
            self._empty.set()
