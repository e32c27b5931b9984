"""`convoq operators link`, `sessions` and `sign-out`."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from convoq.conversations.sessions import Sessions
from convoq.db import Database
from tests.cli.scenes import Place


@pytest.fixture
def marta(place: Place) -> Place:
    assert place.run("operators", "add", "Marta") == 0
    return place


def link(place: Place, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert place.run("operators", "link", "marta", *arguments) == 0
    return capsys.readouterr().out.strip()


def sign_in(place: Place, address: str) -> None:
    async def follow() -> None:
        async with await Database.open(place.database) as database:
            assert await Sessions(database).sign_in(address.partition("code=")[2], "Firefox on a phone") is not None

    asyncio.run(follow())


def sessions(place: Place, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert place.run("operators", "sessions", "--json") == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["sessions"]
    return found


def test_a_link_leads_to_this_machine_and_is_printed_once(marta: Place, capsys: pytest.CaptureFixture[str]) -> None:
    address = link(marta, capsys)
    assert address.startswith("http://127.0.0.1:8081/login?code=")
    assert address.partition("code=")[2].encode() not in marta.database.read_bytes()
    assert marta.execute("SELECT operator, role FROM sign_in_links") == [("Marta", "operator")]


def test_or_to_the_name_of_the_proxy(marta: Place, capsys: pytest.CaptureFixture[str]) -> None:
    marta.configure('[console]\nnames = ["desk.example.com"]')
    assert link(marta, capsys, "--role", "viewer").startswith("https://desk.example.com/login?code=")


def test_only_an_operator_gets_one(marta: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert marta.run("operators", "link", "Luis") == 1
    assert "Luis is no operator: convoq operators add Luis" in capsys.readouterr().err


def test_sessions_are_listed_and_ended_once(marta: Place, capsys: pytest.CaptureFixture[str]) -> None:
    sign_in(marta, link(marta, capsys))
    [listed] = sessions(marta, capsys)
    assert (listed["operator"], listed["agent"], listed["ended_at"]) == ("Marta", "Firefox on a phone", None)
    assert marta.run("operators", "sign-out", "1", "--as", "Ben") == 0
    assert capsys.readouterr().err.endswith("session 1 of Marta has ended\n")
    assert marta.run("operators", "sign-out", "1") == 1
    assert "session 1 was ended before, by Ben" in capsys.readouterr().err
    assert sessions(marta, capsys)[0]["ended_by"] == "Ben"
    assert marta.run("operators", "sign-out", "2") == 1
