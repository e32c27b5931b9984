"""The client that model requests share keeps its connections."""

from __future__ import annotations

import asyncio

from aiohttp import web

from convoq.ai.http import open_client

AT_ONCE = 64


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
