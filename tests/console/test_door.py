"""Who comes in, and what everybody else is told."""

from __future__ import annotations

from typing import Any

import pytest

from convoq.console import door
from convoq.conversations.access import make_token
from tests.api.conftest import Events
from tests.console.site import Api, acts


async def test_a_token_lets_in(api: Api) -> None:
    reply = await api.get("/status", by="screen")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert (reply.headers["Cache-Control"], reply.headers["X-Content-Type-Options"]) == ("no-store", "nosniff")


@pytest.mark.parametrize("path", ["/status", "/nothing", "/openapi.json", "/status?x=1"])
async def test_without_one_nothing_is_told(path: str, api: Api) -> None:
    reply = await api.get(path, by=None)
    assert reply.problem == (401, "unauthorized")
    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="convoq"'


@pytest.mark.parametrize(
    "given",
    [
        "Bearer",
        "Bearer ",
        "Basic Y3ZxOg==",
        "Bearer cvq_short",
        f"Bearer {make_token()}",
        "Bearer cvq_\u00e9",
        "x" * 4000,
    ],
    ids=["nothing", "blank", "basic", "short", "unknown", "not ascii", "long"],
)
async def test_what_is_no_valid_token_does_not(given: str, api: Api) -> None:
    reply = await api.ask("GET", "/status", by=None, headers={"Authorization": given})
    assert reply.problem == (401, "unauthorized")


async def test_a_token_in_the_address_or_a_cookie_lets_nobody_in(api: Api) -> None:
    token = api.tokens["ben"]
    assert (await api.get(f"/status?token={token}", by=None)).status == 401
    assert (await api.ask("GET", "/status", by=None, headers={"Cookie": f"token={token}"})).status == 401


async def test_a_revoked_token_lets_in_no_more(api: Api) -> None:
    await acts(api.house.database).revoke_token(1)
    assert (await api.get("/status")).problem == (401, "unauthorized")
    assert (await api.get("/status", by="ben")).status == 200


async def test_who_is_removed_comes_in_no_more(api: Api) -> None:
    await acts(api.house.database).remove_operator("Marta")
    assert (await api.get("/status")).problem == (401, "unauthorized")


@pytest.mark.parametrize("name", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "a b", "[::1"])
async def test_a_request_for_another_name_is_refused(name: str, api: Api) -> None:
    async with api.wire() as client:
        await client.send(
            f"GET /api/v1/status HTTP/1.1\r\nHost: {name}\r\nAuthorization: Bearer {api.tokens['ben']}\r\n\r\n".encode()
        )
        assert (await client.reply()).status in (400, 421)


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST:8081", "127.0.0.1:1", "[::1]:8081"])
async def test_a_name_of_this_machine_is_ours_on_any_port(name: str, api: Api) -> None:
    reply = await api.ask("GET", "/status", headers={"Host": name})
    assert reply.status == 200


async def test_failures_are_slowed_down_and_valid_tokens_are_not(api: Api) -> None:
    statuses = [(await api.get("/status", by=None)).status for _ in range(door.FAILURES_AT_ONCE + 5)]
    assert statuses[: door.FAILURES_AT_ONCE] == [401] * door.FAILURES_AT_ONCE
    assert 429 in statuses
    assert (await api.get("/status")).status == 200


async def test_a_failure_is_a_line_of_the_log_and_a_flood_is_not(api: Api, events: Events) -> None:
    for _ in range(12):
        await api.ask("GET", "/status", by=None, headers={"Authorization": f"Bearer {make_token()}"})
    lines: list[Any] = [event for event in events if event["event"] == "console.refused"]
    assert 1 <= len(lines) < 12
    assert (lines[0]["reason"], lines[0]["peer"]) == ("its token is not valid", "127.0.0.1")
    assert "cvq_" not in str(lines)


async def test_the_last_use_of_a_token_is_noted(api: Api) -> None:
    await api.get("/status")
    await api.server.stop()  # what is noted beside the requests is noted by now
    [(used_at,)] = await api.house.rows("SELECT used_at FROM access_tokens WHERE operator = 'Marta'")
    assert used_at == api.house.clock.now()
