"""A place with whole settings, and what `convoq doctor` finds in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from convoq.loopback.environment import free_port
from convoq.loopback.twilio import ACCOUNT_SID, AUTH_TOKEN
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
