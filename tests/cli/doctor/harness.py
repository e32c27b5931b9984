"""A place with whole settings, and what `convoq doctor` finds in it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from convoq.cli.doctor import services
from convoq.loopback.environment import free_port
from convoq.loopback.twilio import ACCOUNT_SID, AUTH_TOKEN
from convoq.monitoring.findings import Finding
from convoq.settings.load import load
from tests.cli.scenes import Place

NUMBER = "+15551230000"


def findings(
    place: Place, capsys: pytest.CaptureFixture[str], *arguments: str, code: int | None = None
) -> dict[str, Any]:
    """What `doctor --offline` found, by name."""
    ended = place.run("doctor", "--json", "--offline", *arguments)
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    assert document["ok"] == (ended == 0)
    if code is not None:
        assert ended == code
    return {check["name"]: check for check in document["checks"]}


def whole(port: int | None = None, **more: str) -> str:
    """Settings that every role can start with."""
    return f"""
[server]
port = {port or free_port()}
public_url = "{more.get("public_url", "https://bot.example.com")}"
[twilio]
account_sid = "{ACCOUNT_SID}"
auth_token = "{more.get("token", AUTH_TOKEN)}"
api_base_url = "{more.get("twilio", "http://127.0.0.1:9")}"
[ai]
model = "{more.get("model", "offline")}"
{more.get("ai", "")}
[[numbers]]
address = "{NUMBER}"
persona = "default"
[[personas]]
name = "default"
"""


async def examined(place: Place, *, offline: bool = False) -> dict[str, Finding]:
    """What was found outside, by name and in its order."""
    async with services.asking(load(place.config, environ={}), offline=offline) as asked:
        return {finding.name: finding async for finding in services.found(asked, offline=offline)}


class Silence:
    """A server that accepts every connection and answers none."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[bytes] = []  #: the first line of each request
        self.wanted = 0
        self.is_asked = asyncio.Event()  #: by as many as `wanted`

    async def hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if line := await reader.readline():
                self.asked.append(line.strip())
                if len(self.asked) >= self.wanted:
                    self.is_asked.set()
            await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def silence(wanted: int = 1) -> AsyncIterator[Silence]:
    silent = Silence()
    silent.wanted = wanted
    server = await asyncio.start_server(silent.hear, "127.0.0.1", 0)
    silent.port = server.sockets[0].getsockname()[1]
    try:
        yield silent
    finally:
        server.close()
