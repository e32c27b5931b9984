"""More connections than there is room for, or than the process has files for."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from convoq.api.connections import ClientConnection, ConnectionServer, Limits
from convoq.api.listener import Listener, ListenerTimings
from convoq.loopback.waiting import until
from tests.api.harness import ApiServer, message, request, running, webhook

pytestmark = pytest.mark.usefixtures("many_files")
HEALTH = request(b"", path="/healthz", method="GET", content_type=None)
TWILIOS_TIME = 15.0
HALF_A_HEAD = b"POST /twilio/inbound HTTP/1.1\r\nHost: x\r\nX-A: "

Events = list[dict[str, Any]]


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class SlowClient(asyncio.Protocol):
    """Sends a part of a request, and connects again as soon as it is thrown out or refused."""

    def __init__(self, port: int, opening: bytes) -> None:
        self.port = port
        self.opening = opening
        self.transport: asyncio.Transport | None = None
        self.over = False
        self.returning: asyncio.Task[object] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.opening)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over:
            self.returning = asyncio.get_running_loop().create_task(self.connect())

    async def connect(self) -> None:
        while not self.over:
            try:
                await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0)  # lets the others run: connecting may fail without a turn of the loop
                continue
            return

    async def leave(self) -> None:
        self.over = True
        if self.transport is not None:
            self.transport.abort()
        if self.returning is not None:
            self.returning.cancel()
            await asyncio.gather(self.returning, return_exceptions=True)


@asynccontextmanager
async def slow_clients(api: ApiServer, number: int, opening: bytes) -> AsyncIterator[list[SlowClient]]:
    assert api.server.port is not None
    clients = [SlowClient(api.server.port, opening) for _ in range(number)]
    coming = [asyncio.create_task(client.connect()) for client in clients]
    await asyncio.wait(coming, timeout=10)
    try:
        yield clients
    finally:
        for task in coming:
            task.cancel()
        await asyncio.gather(*(client.leave() for client in clients), *coming, return_exceptions=True)


@pytest.mark.parametrize("opening", [HALF_A_HEAD, webhook(message())[:-5]], ids=["head", "body"])
async def test_webhooks_get_through_2500_slow_clients_that_come_back_at_once(opening: bytes) -> None:
    async with running() as api, slow_clients(api, 2500, opening):
        for _ in range(2):
            begun = time.monotonic()
            async with asyncio.timeout(TWILIOS_TIME), api.client() as client:
                await client.send(webhook(message()))
                head = await client.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), head
            assert time.monotonic() - begun < TWILIOS_TIME


async def test_a_connection_younger_than_a_second_is_not_thrown_out_for_a_newcomer() -> None:
    async with running(limits=Limits(connections=1, evictable_after=0.4)) as api, api.client() as first:
        await first.send(HALF_A_HEAD)
        begun = time.monotonic()
        ended = asyncio.create_task(first.closed())
        async with api.client() as newcomer:
            await newcomer.send(HEALTH)
            answer = await newcomer.reply()
        assert answer.status == 200
        assert time.monotonic() - begun >= 0.35
        assert await ended


async def test_a_young_connection_that_sends_its_request_is_answered_before_a_newcomer() -> None:
    async with running(limits=Limits(connections=1, evictable_after=0.3)) as api, api.client() as first:
        await first.send(HEALTH[:5])
        async with api.client() as newcomer:
            await newcomer.send(HEALTH)
            await first.send(HEALTH[5:])
            assert (await first.reply()).status == 200
            assert (await newcomer.reply()).status == 200


class Transport(asyncio.Transport):
    """Takes what is written, as a peer that never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted


def arrive(server: ConnectionServer) -> tuple[ClientConnection, Transport]:
    client, transport = server(), Transport()
    server.expect()
    client.connection_made(transport)
    return client, transport


async def unused(_: web.BaseRequest) -> web.StreamResponse:
    raise AssertionError("no request is made")


async def time_to_evict(number: int) -> float:
    """Microseconds that one newcomer costs at the limit: the least of several hundred."""
    server = ConnectionServer(unused, limits=Limits(connections=number, evictable_after=0.0))
    clients = [arrive(server)[0] for _ in range(number)]
    costs = []
    for _ in range(300):
        begun = time.perf_counter()
        server.seconds_to_room()
        server.expect()
        costs.append(time.perf_counter() - begun)
        client = server()
        client.connection_made(Transport())
        clients.append(client)
    for client in clients:
        if client.task is not None:
            client.task.cancel()
    await asyncio.gather(*(client.task for client in clients if client.task), return_exceptions=True)
    return min(costs) * 1e6


async def test_not_the_one_that_has_just_come_gives_its_place_but_the_one_that_has_waited_longest() -> None:
    server = ConnectionServer(unused, limits=Limits(connections=3, evictable_after=0.0))
    waiting = [arrive(server) for _ in range(2)]
    await asyncio.sleep(0)  # aiohttp waits for their requests by now, and not yet for that of the next
    just_come = arrive(server)
    server.expect()
    assert [transport.aborted for _, transport in (*waiting, just_come)] == [True, False, False]
    tasks = [client.task for client, _ in (*waiting, just_come) if client.task]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_making_room_costs_the_same_among_5000_connections_as_among_50() -> None:
    few, many = await time_to_evict(50), await time_to_evict(5000)
    assert many < 5 * few + 20


async def answer(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="here")


@asynccontextmanager
async def no_file_free() -> AsyncIterator[None]:
    """For this process: the next descriptor that it asks for is beyond its limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_free = os.dup(0)
    os.close(next_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_running_out_of_files_is_a_line_in_a_while_and_passes_by_itself(events: Events) -> None:
    loop = asyncio.get_running_loop()
    server = ConnectionServer(answer, limits=Limits())
    listener = Listener(socket.create_server(("127.0.0.1", 0)), server, ListenerTimings(retry=0.002, log_every=0.5))
    listener.start()
    with socket.socket() as client:
        client.setblocking(False)
        async with no_file_free(), asyncio.timeout(10):
            await loop.sock_connect(client, listener.address)
            await loop.sock_sendall(client, HEALTH)
            await until(lambda: len(events) >= 2, timeout=10)
        reply = await asyncio.wait_for(loop.sock_recv(client, 4096), 5)
    listener.close()
    await server.drain(1.0)

    assert reply.startswith(b"HTTP/1.1 200 ")
    assert {(event["event"], event["reason"]) for event in events} == {
        ("connections.not_accepted", "Too many open files")
    }
    assert events[0]["held_back"] == 0
    assert events[1]["held_back"] > 10
