"""The listener: who is cut and when, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from convoq.api.connections import Limits
from convoq.api.server import serve
from convoq.api.throttle import Throttle
from convoq.errors import ConfigError, ConvoqError
from convoq.loopback.waiting import until
from convoq.settings import ServerSettings
from tests.api.harness import ApiServer, Client, message, request, running, webhook

QUICK = Limits(head_time=0.15, idle_time=0.3, body_time=0.15, request_time=0.6, linger_time=0.1, sweep_every=0.03)
#: Of a listener that waits for its clients for as long as a test could take.
PATIENT = Limits(head_time=600, idle_time=600, body_time=600, request_time=600, linger_time=600)
DRAIN = 600.0
LONGEST = 30.0  #: whatever waits for such a client takes longer; a crowded machine does not
HEALTH = request(b"", path="/healthz", method="GET", content_type=None)


@pytest.fixture
async def quick() -> AsyncIterator[ApiServer]:
    async with running(limits=QUICK) as api:
        yield api


@contextlib.asynccontextmanager
async def crowd(api: ApiServer, number: int, opening: bytes) -> AsyncIterator[list[Client]]:
    clients = [await api.connect() for _ in range(number)]
    for client in clients:
        await client.send(opening)
    try:
        yield clients
    finally:
        for client in clients:
            await client.close()


@pytest.mark.parametrize("opening", [b"", b"P", b"POST /twilio/inbound HTTP/1.1\r\nHost: x\r\nX-A: ", b"\r\n\r\n"])
async def test_connection_without_a_whole_head_is_cut(opening: bytes, quick: ApiServer) -> None:
    async with quick.client() as client:
        await client.send(opening)
        assert await client.closed()


async def test_head_that_trickles_in_is_cut(quick: ApiServer) -> None:
    async with quick.client() as client:
        await client.send(b"GET / HTTP/1.1\r\nA: ")
        ended = asyncio.create_task(client.closed())
        with contextlib.suppress(ConnectionError):
            while not ended.done():
                await client.send(b"x")
                await asyncio.sleep(0.02)  # the pace of the attack
        assert await ended


async def test_second_head_that_never_ends_is_cut_sooner_than_an_idle_connection() -> None:
    patient = Limits(head_time=0.1, idle_time=30, sweep_every=0.03)
    async with running(limits=patient) as api, api.client() as client:
        await client.send(HEALTH)
        await client.reply()
        await client.send(b"GET /hea")
        assert await client.closed()


async def test_idle_connection_is_kept_and_then_closed(quick: ApiServer) -> None:
    async with quick.client() as client:
        await client.send(HEALTH)
        await client.reply()
        answered_at = time.monotonic()
        assert await client.closed()
        assert time.monotonic() - answered_at > QUICK.idle_time - 0.05


async def test_client_that_never_reads_is_cut() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as deaf:
        # Small buffers, so that the server soon has an answer that it cannot get rid of.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        async with running(limits=QUICK, write_timeout=0.1, sockets=[listener.dup()]):
            await asyncio.get_running_loop().sock_connect(deaf, listener.getsockname())
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(send_for_ever(deaf), 10)


async def send_for_ever(deaf: socket.socket) -> None:
    """Its unread answers stop it from sending more, until it is thrown out."""
    while True:
        await asyncio.get_running_loop().sock_sendall(deaf, HEALTH * 1000)


async def test_body_after_the_answer_is_not_waited_for_long(quick: ApiServer) -> None:
    async with quick.client() as client:
        await client.send(request(b"", path="/elsewhere").replace(b"Content-Length: 0", b"Content-Length: 99"))
        assert (await client.reply()).status == 404
        assert await client.closed()


async def test_client_that_leaves_after_the_answer_is_not_waited_for() -> None:
    async with running(drain_timeout=DRAIN, limits=PATIENT) as api:
        async with api.client() as client:
            await client.send(request(b"", path="/elsewhere").replace(b"Content-Length: 0", b"Content-Length: 99"))
            await client.reply()
        async with asyncio.timeout(LONGEST):
            await api.server.stop()


async def test_request_is_not_cut_while_its_write_may_still_succeed() -> None:
    hasty = Limits(request_time=0.05, body_time=0.05, linger_time=0.05, sweep_every=0.02)
    async with running(limits=hasty, write_timeout=0.3) as api:
        api.queue.hangs = True
        assert (await api.ask(webhook(message()))).status == 503


async def test_server_full_of_silent_clients_serves_a_new_one() -> None:
    async with running(limits=Limits(connections=20, evictable_after=0.1)) as api, crowd(api, 60, b"POST /tw"):
        for _ in range(5):
            await served(api, webhook(message()))


async def test_server_full_of_half_bodies_serves_a_new_client() -> None:
    async with (
        running(limits=Limits(connections=20, evictable_after=0.1)) as api,
        crowd(api, 30, webhook(message())[:-5]),
    ):
        await served(api, webhook(message()))


async def test_server_full_of_requests_in_work_refuses_a_new_client() -> None:
    async with running(limits=Limits(connections=3)) as api:
        api.queue.released.clear()
        async with crowd(api, 3, webhook(message())) as served:
            await api.queue.entered.wait()
            async with api.client() as newcomer:
                reply = await newcomer.reply()
                assert (reply.status, reply.headers["retry-after"]) == (503, "2")
            api.queue.released.set()
            assert [(await client.reply()).status for client in served] == [200] * 3


async def test_requests_are_served_beside_500_slow_connections_as_quickly_as_alone() -> None:
    async with running(limits=PATIENT) as api:
        alone = await fastest_answer(api)
        async with crowd(api, 250, b"POST /tw"), crowd(api, 250, webhook(message())[:-5]):
            assert await fastest_answer(api) < 5 * alone + 0.02


async def fastest_answer(api: ApiServer) -> float:
    """Seconds: the least of ten, as other processes hold up most of them on a crowded machine."""
    took = []
    for _ in range(10):
        started = time.monotonic()
        assert (await api.ask(webhook(message()))).status == 200
        took.append(time.monotonic() - started)
    return min(took)


async def test_stop_lets_an_open_request_finish_and_closes_its_connection() -> None:
    async with running() as api:
        api.queue.released.clear()
        async with api.client() as client:
            await client.send(webhook(message()))
            await api.queue.entered.wait()
            stopping = asyncio.create_task(api.server.stop())
            await refused(api)
            api.queue.released.set()
            reply = await client.reply()
            assert (reply.status, reply.headers["connection"]) == (200, "close")
            await stopping
    assert len(api.queue.jobs) == 1


async def test_stop_closes_idle_connections_at_once() -> None:
    async with running(drain_timeout=DRAIN, limits=PATIENT) as api, crowd(api, 200, HEALTH) as clients:
        for client in clients:
            await client.reply()
        async with asyncio.timeout(LONGEST):
            await api.server.stop()
        assert all([await client.closed() for client in clients])


async def test_stop_still_answers_a_request_that_was_on_its_way() -> None:
    async with running() as api, api.client() as client:
        stopping = asyncio.create_task(api.server.stop())
        await refused(api)
        await client.send(webhook(message()))
        assert (await client.reply()).status == 200
        await stopping


async def test_stop_keeps_its_time_under_hostile_connections() -> None:
    slow = webhook(message())
    async with running(drain_timeout=0.2, limits=PATIENT, write_timeout=10) as api:
        api.queue.hangs = True
        async with (
            crowd(api, 200, HEALTH),
            crowd(api, 60, b""),
            crowd(api, 60, slow[:40]),
            crowd(api, 60, slow[:-5]),
            crowd(api, 10, request(b"", path="/x").replace(b"Content-Length: 0", b"Content-Length: 99")),
            crowd(api, 10, slow),
        ):
            await api.queue.entered.wait()
            async with asyncio.timeout(9):  # less than the write
                await api.server.stop()
    assert not [task for task in asyncio.all_tasks() if "RequestHandler" in repr(task)]


async def test_stop_does_not_wait_for_a_handler_that_resists() -> None:
    over = asyncio.Event()

    async def resist(_request: web.Request) -> web.Response:
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await over.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/", resist)
    settings = ServerSettings(port=0, drain_timeout=0.1)
    server = await serve(app, settings)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await writer.drain()
    async with asyncio.timeout(LONGEST):
        await server.stop()
    over.set()
    writer.transport.abort()


async def test_handed_over_socket_goes_on_listening_for_the_next_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as systemds:
        app, settings = web.Application(), ServerSettings()
        port = systemds.getsockname()[1]
        first = await serve(app, settings, sockets=[systemds.dup()])
        assert (first.port, first.addresses) == (port, (f"127.0.0.1:{port}",))
        await first.stop()
        # accept() is not called just now, yet the client can connect and ask.
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEALTH)
        second = await serve(web.Application(), settings, sockets=[systemds.dup()])
        assert (await reader.readline()).startswith(b"HTTP/1.1 404")
        writer.transport.abort()
        await second.stop()


async def test_unix_socket_is_served(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "convoq.sock"))
        server = await serve(web.Application(), ServerSettings(), sockets=[listener.dup()])
        assert (server.port, server.addresses) == (None, (f"unix:{tmp_path}/convoq.sock",))
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "convoq.sock"))
        writer.write(HEALTH)
        assert (await reader.readline()).startswith(b"HTTP/1.1 404")
        writer.transport.abort()
        await server.stop()


async def test_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConvoqError, match=f"^cannot listen on 127.0.0.1:{port}: .*in use.*server.port"):
            await serve(web.Application(), ServerSettings(port=port))


@pytest.mark.parametrize("host", ["no-such-host.invalid", "not a host", "192.0.2.1"])
async def test_host_that_is_not_ours_is_one_clear_line(host: str) -> None:
    with pytest.raises(ConfigError, match=f"^server.host: '{host}' is no address of this machine"):
        await serve(web.Application(), ServerSettings(host=host, port=0))


async def test_connections_leave_files_for_the_rest_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (80, 80))
    async with running(limits=Limits(evictable_after=0.1)) as api, crowd(api, 40, b"") as clients:
        ends = [asyncio.create_task(client.ended()) for client in clients]
        for _, end in zip(range(24), asyncio.as_completed(ends), strict=False):
            await end
        await served(api, HEALTH)


def test_throttle_admits_a_burst_then_one_at_a_time_and_counts_the_rest() -> None:
    now = [0.0]
    throttle = Throttle(lambda: now[0], burst=2, every=10.0)
    assert [throttle.admit() for _ in range(5)] == [0, 0, None, None, None]
    now[0] = 10.0
    assert [throttle.admit(), throttle.admit()] == [3, None]
    now[0] = 1000.0
    assert [throttle.admit() for _ in range(3)] == [1, 0, None]


async def served(api: ApiServer, raw: bytes) -> None:
    """Returns once it is answered 200: while a busy machine makes room it may be 503, and Twilio tries again too."""

    async def is_served() -> bool:
        return (await api.ask(raw)).status == 200

    await until(is_served, timeout=LONGEST)


async def refused(api: ApiServer) -> None:
    """Returns once the listener no longer takes connections."""

    async def is_refused() -> bool:
        try:
            await (await api.connect()).close()
        except ConnectionRefusedError:
            return True
        return False

    await until(is_refused, timeout=LONGEST)
