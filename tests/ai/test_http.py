"""The client that model requests share: its connections, and errors that the SDKs know."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from aiohttp import web

from convoq.ai.http import open_client
from convoq.ai.wire.errors import Unreadable
from tests.outbound.conftest import HOST
from tests.outbound.proxy import proxy_server

AT_ONCE = 64
ROUNDS = 10  # of the loop, in which our side hears that the other has closed


async def test_as_many_connections_are_kept_as_requests_were_made_at_once() -> None:
    peers: set[str] = set()
    everyone = asyncio.Barrier(AT_ONCE)

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(str(request.transport.get_extra_info("peername")))
        await everyone.wait()  # so that no request finds the connection of another one free
        return web.Response(text="{}")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        async with open_client(timeout=30) as client:
            for _ in range(2):
                await asyncio.gather(*(client.get(url) for _ in range(AT_ONCE)))
    finally:
        await runner.cleanup()

    assert len(peers) == AT_ONCE


async def test_a_connection_that_the_server_has_closed_meanwhile_is_not_used_again() -> None:
    closed = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        closed.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, open_client(timeout=30) as client:
        for _ in range(3):
            closed.clear()
            assert (await client.post(url, json={})).text == "{}"
            await closed.wait()
            for _ in range(ROUNDS):
                await asyncio.sleep(0)


async def test_a_proxy_that_refuses_is_an_error_that_the_sdks_know(monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxy_server(9, refuse="407 Proxy Authentication Required") as proxy, open_client(timeout=5) as client:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(httpx2.ProxyError, match="407"):
            await client.post(f"https://{HOST}/", json={})


async def test_an_answer_that_is_left_unread_closes_its_connection() -> None:
    left = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        except ConnectionError:
            left.set()
            raise

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with open_client(timeout=30) as client:
            with pytest.raises(Unreadable, match="it is larger than 2 MiB"):
                await client.post(f"http://127.0.0.1:{runner.addresses[0][1]}/", json={})
            await asyncio.wait_for(left.wait(), 10)
    finally:
        await runner.cleanup()
