"""Closes connections that stall, and answers what isn't HTTP with a plain 4xx."""

from __future__ import annotations

import asyncio
import enum
from collections import OrderedDict
from collections.abc import Callable, Iterator
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
CANCEL_TIMEOUT: Final = 0.5  # how long drain() waits for the handlers that it has cancelled
# What a client's bytes, or its disconnect, can make a request's payload raise.
CLIENT_ERRORS: Final = (HttpProcessingError, web.RequestPayloadError, ConnectionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one listener. Sizes are bytes, times are seconds; a time is kept to within two sweeps."""

    body: int = 65_536  #: a channel's forms are a few kilobytes
    body_time: float = 5.0  #: from the request's head to the end of its body
    head_time: float = 10.0  #: from the first byte, or the connection, to a complete head
    idle_time: float = 75.0  #: between two requests; longer than the proxies' own 60
    request_time: float = 20.0  #: one request in all; more where the write's own deadline needs it
    linger_time: float = 3.0  #: for an answer to reach a client that is still sending
    connections: int = 1000
    evictable_after: float = 1.0  #: in one state, at the limit; a client with a request to send has sent it by then
    sweep_every: float = 1.0


class ConnectionState(enum.Enum):
    """How far the current request of a connection has come."""

    READING_HEAD = enum.auto()  #: the head of the first request, or of one that has begun, is incomplete
    READING_BODY = enum.auto()  #: the body of a request is incomplete
    HANDLING = enum.auto()  #: a whole request is being handled or answered
    LINGERING = enum.auto()  #: answered, while its client is still sending
    IDLE = enum.auto()  #: between two requests


# Which connection a new one replaces at the limit: unverified clients first, then a proxy's kept-alive connections,
# never a request that is being handled.
EVICTION_ORDER: Final = (
    ConnectionState.READING_HEAD,
    ConnectionState.LINGERING,
    ConnectionState.READING_BODY,
    ConnectionState.IDLE,
)


class ClientConnection(web.RequestHandler):
    """Observes how far its requests have come; nothing that a client sends makes it log a traceback."""

    __slots__ = ("_head_begun", "_seen", "_seen_at", "_served", "noted", "noted_at", "task")
    _manager: ConnectionServer | None
    task: asyncio.Task[None] | None  #: what handles its requests, also after the client has gone
    noted: ConnectionState | None  #: which of OpenConnections' lines it stands in, and since when
    noted_at: float

    def __init__(self, manager: ConnectionServer, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(manager, loop=loop, **options)
        self.task = None
        self.noted = None
        self.noted_at = 0.0
        self._served = 0
        self._head_begun = False
        self._seen: tuple[int, ConnectionState] | None = None
        self._seen_at = 0.0

    @property
    def state(self) -> ConnectionState:
        if self._waiting:
            return ConnectionState.READING_HEAD if self._head_begun or not self._served else ConnectionState.IDLE
        if self._served == self._request_count:
            # Before its first request it has only not begun to wait: aiohttp's task starts a turn of the loop later.
            return ConnectionState.LINGERING if self._served else ConnectionState.READING_HEAD
        request = self._current_request
        return ConnectionState.HANDLING if request is None or request.content.is_eof() else ConnectionState.READING_BODY

    def stalled_for(self, now: float) -> float:
        """Seconds since the first call that saw this state of this request. Only the sweep asks."""
        seen = (self._served, self.state)
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        return now - self._seen_at

    def abort(self) -> None:
        """Closes the connection at once, also when its peer doesn't read and its handler hangs."""
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
        lingering = self.state is ConnectionState.LINGERING
        super().connection_lost(exc)
        if lingering and self.task is not None:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._head_begun = self._waiting
        if self._manager is not None:
            self._manager.note(self)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        resp.headers.setdefault("Server", "convoq")
        if self._manager is not None and self._manager.draining and not self._messages:
            resp.force_close()
        finished = await super().finish_response(request, resp, start_time)
        self._served += 1
        if self._manager is not None:
            self._manager.note(self)
        return finished

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's signature
    ) -> web.StreamResponse:
        if status < 500 or isinstance(exc, CLIENT_ERRORS):
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
        if not isinstance(error, CLIENT_ERRORS):
            log.error("connection.failed", exc_info=error)

    @property
    def _waiting(self) -> bool:
        return self._waiter is not None and not self._waiter.done() and not self._messages


class OpenConnections:
    """The connections that count, one line for each state, the longest in it first.

    Finding the one to evict takes as long for thousands as for two: a connection is moved when its state changes, and
    where that was not told (aiohttp waits for the next request on its own) when it comes to the front.
    """

    def __init__(self) -> None:
        self._lines: dict[ConnectionState, OrderedDict[ClientConnection, None]]
        self._lines = {state: OrderedDict() for state in ConnectionState}

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def add(self, client: ClientConnection, now: float) -> None:
        client.noted, client.noted_at = client.state, now
        self._lines[client.noted][client] = None

    def move(self, client: ClientConnection, now: float) -> None:
        """Into the line of its state, if it stands in another one."""
        state = client.state
        if client.noted is not None and client.noted is not state:
            self.remove(client)
            client.noted, client.noted_at = state, now
            self._lines[state][client] = None

    def remove(self, client: ClientConnection) -> None:
        if client.noted is not None:
            del self._lines[client.noted][client]
            client.noted = None

    def longest(self, state: ConnectionState) -> ClientConnection | None:
        """The connection that has been in this state for the longest."""
        line = self._lines[state]
        while line:
            client = next(iter(line))
            if client.state is state:
                return client
            self.move(client, client.noted_at)
        return None


class ConnectionServer(web.Server):
    """Makes the connections, bounds their number and the time of each state, and drains them on stop.

    At the limit a new connection replaces one that has been without a request in work for a second, so clients that
    only hold connections open cannot shut a channel out. A younger one is never replaced: the newcomer waits in the
    kernel's queue, first come, first served, until one is old enough, however fast the evicted ones come back. Where
    all have requests in work, it is refused.
    """

    def __init__(self, handler: Any, *, limits: Limits, **options: Any) -> None:
        super().__init__(handler, **options)
        self._limits = limits
        self._timeouts = {
            ConnectionState.READING_HEAD: limits.head_time,
            ConnectionState.READING_BODY: limits.request_time,
            ConnectionState.HANDLING: limits.request_time,
            ConnectionState.LINGERING: limits.request_time,
            ConnectionState.IDLE: limits.idle_time,
        }
        self._open = OpenConnections()
        self._arriving = 0  # accepted, but without a protocol so far
        self._empty = asyncio.Event()
        self._empty.set()
        self.draining = False

    def __call__(self) -> ClientConnection:
        return ClientConnection(self, loop=self._loop, **self._kwargs)

    def seconds_to_room(self) -> float:
        """How long a newcomer has to wait; 0 also where it is of no use, because all have requests in work."""
        if len(self._open) + self._arriving < self._limits.connections:
            return 0.0
        return min(self._waits(), default=0.0)

    def expect(self) -> None:
        """A connection has been accepted: it gets the place of another one, where there is none free."""
        if len(self._open) + self._arriving >= self._limits.connections:
            self._evict_one()
        self._arriving += 1

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        self._arriving -= 1
        if len(self._open) >= self._limits.connections:
            transport.write(BUSY_ANSWER)
            handler.force_close()
        elif isinstance(handler, ClientConnection):
            self._open.add(handler, self._loop.time())
        super().connection_made(handler, transport)
        self._empty.clear()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        if isinstance(handler, ClientConnection):
            self._open.remove(handler)
            if handler.task is not None:
                handler.task.add_done_callback(lambda _: self._set_if_empty())
        self._set_if_empty()

    def note(self, client: ClientConnection) -> None:
        """Its state may have changed."""
        self._open.move(client, self._loop.time())

    async def sweep(self) -> None:
        """Closes connections that stall in their state for too long, until cancelled."""
        while True:
            await asyncio.sleep(self._limits.sweep_every)
            self._abort_where(lambda client: client.stalled_for(self._loop.time()) > self._timeouts[client.state])

    async def drain(self, timeout: float) -> None:
        """Lets open requests finish within `timeout`. Idle connections end at once, and in the end all do.

        A connection without a whole request gets a second: the rest may be on its way.
        """
        self.draining = True
        now = self._loop.time()
        self._abort_where(lambda connection: connection.state is ConnectionState.IDLE)
        await self._wait_until_empty(now + min(1.0, timeout))
        without_request = (ConnectionState.READING_HEAD, ConnectionState.LINGERING, ConnectionState.IDLE)
        self._abort_where(lambda connection: connection.state in without_request)
        await self._wait_until_empty(now + timeout)
        self._abort_where(lambda _: True)
        await self._wait_until_empty(self._loop.time() + CANCEL_TIMEOUT)

    def _waits(self) -> Iterator[float]:
        """For the first in each line, how long until it may be evicted."""
        ripe = self._loop.time() - self._limits.evictable_after
        for state in EVICTION_ORDER:
            if (client := self._open.longest(state)) is not None:
                yield max(0.0, client.noted_at - ripe)

    def _evict_one(self) -> None:
        ripe = self._loop.time() - self._limits.evictable_after
        for state in EVICTION_ORDER:
            client = self._open.longest(state)
            if client is not None and client.noted_at <= ripe:
                self._open.remove(client)
                client.abort()
                return

    def _abort_where(self, condition: Callable[[ClientConnection], bool]) -> None:
        for connection in self._clients():
            if condition(connection):
                connection.abort()

    def _clients(self) -> list[ClientConnection]:
        return [client for client in self._connections if isinstance(client, ClientConnection)]

    async def _wait_until_empty(self, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await self._empty.wait()
        except TimeoutError:
            return

    def _set_if_empty(self) -> None:
        if not self._connections:
            self._empty.set()
