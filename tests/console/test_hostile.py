"""Peers that stall, flood or lie hold nothing up and break nothing."""

from __future__ import annotations

import asyncio

import aiohttp

from convoq.api.connections import Limits
from convoq.db import Database
from convoq.db.gate import Gate
from convoq.loopback.waiting import until
from tests.console.site import open_api
from tests.handlers.house import House
from tests.stores import only_sqlite

pytestmark = only_sqlite
SHORT = Limits(head_time=0.2, body_time=0.2, linger_time=0.2, sweep_every=0.05, connections=8)


async def test_a_head_that_never_ends_is_cut_off(house: House) -> None:
    async with open_api(house, limits=SHORT) as api, api.wire() as client:
        await client.send(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nX: ")
        await client.ended()


async def test_a_body_that_never_comes_is_408(house: House) -> None:
    async with open_api(house, limits=SHORT) as api, api.wire() as client:
        head = (
            "POST /api/v1/conversations/1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {api.tokens['marta']}\r\nIdempotency-Key: k\r\nContent-Length: 100\r\n\r\n{{"
        )
        await client.send(head.encode())
        reply = await client.reply()
        assert (reply.status, reply.headers["content-type"]) == (408, "application/problem+json")


async def test_twenty_megabytes_are_refused_unread(house: House) -> None:
    async with open_api(house) as api, api.wire() as client:
        head = (
            "POST /api/v1/conversations/1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {api.tokens['marta']}\r\nIdempotency-Key: k\r\nContent-Length: 20000000\r\n\r\n"
        )
        await client.send(head.encode())
        assert (await client.reply()).status == 413


async def test_twenty_megabytes_without_a_token_are_401(house: House) -> None:
    async with open_api(house) as api, api.wire() as client:
        await client.send(
            b"POST /api/v1/conversations/1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000000\r\n\r\n"
        )
        assert (await client.reply()).status == 401


async def test_those_who_only_hold_connections_shut_nobody_out(house: House) -> None:
    limits = Limits(connections=8, evictable_after=0.05, sweep_every=0.05)
    async with open_api(house, limits=limits) as api:
        held = [await asyncio.open_connection("127.0.0.1", api.server.port) for _ in range(20)]

        async def is_in() -> bool:
            """Not before the next sweep has made room."""
            url, token = f"http://127.0.0.1:{api.server.port}/api/v1/status", api.tokens["marta"]
            try:
                async with api.session.get(url, headers={"Authorization": f"Bearer {token}"}) as response:
                    return response.status == 200
            except aiohttp.ClientError:
                return False

        await until(is_in, timeout=30)
        for _, writer in held:
            writer.transport.abort()


async def test_what_is_no_http_is_answered_and_forgotten(house: House) -> None:
    async with open_api(house) as api, api.wire() as client:
        await client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        assert (await client.reply()).status == 400
        assert (await api.get("/status")).status == 200


async def test_a_write_that_waits_for_long_is_503_and_its_repetition_tells(house: House) -> None:
    await house.hear_at_once("are you open?")
    assert isinstance(house.database, Database)
    gate = Gate(house.database._gate.path)
    try:
        async with open_api(house, timeout=0.5) as api:
            with gate:  # as by a process that is stopped while it holds it
                refused = await api.post("/conversations/1/messages", {"text": "Hi."}, key="k1")
                assert (refused.problem, refused.headers["Retry-After"]) == ((503, "storage"), "2")
            # On a slow machine it may be late again: each time it is the same request.
            while (reply := await api.post("/conversations/1/messages", {"text": "Hi."}, key="k1")).status == 503:
                pass
            assert reply.status == 202
    finally:
        gate.close()
    assert await house.rows("SELECT count(*) FROM outbox") == [(1,)]
