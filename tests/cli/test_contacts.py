"""`convoq contacts`: a person at a glance, and a block that holds in all their conversations."""

from __future__ import annotations

import json

import pytest

from tests.cli.scenes import ANA, Place, receive


@pytest.fixture
def chat(place: Place) -> Place:
    place.prepare(lambda database: receive(database, "Hello"))
    return place


def test_a_person_is_shown_with_their_conversations(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert chat.run("contacts", "show", "+34600000001") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == f"Ana, {ANA}"
    assert shown[2].split()[:4] == ["1", "whatsapp:+14155238886", "active", "ai"]
    assert chat.run("contacts", "show", "1", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["contact"]["address"], found["contact"]["name"], found["contact"]["blocked_at"]) == (ANA, "Ana", None)
    assert [one["id"] for one in found["conversations"]] == [1]


def test_who_is_blocked_is_answered_by_nobody_until_unblocked(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert chat.run("contacts", "block", ANA, "--reason", "insults", "--as", "Marta", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["contact"]["blocked_at"] is not None
    assert [one["owner"] for one in found["conversations"]] == ["nobody"]
    assert chat.execute("SELECT outcome FROM messages") == [("blocked",)]
    chat.run("contacts", "show", ANA)
    assert f": convoq contacts unblock {ANA}" in capsys.readouterr().out
    assert chat.run("contacts", "unblock", ANA, "--as", "Marta") == 0
    assert capsys.readouterr().err == f"{ANA} is answered again\n"
    assert chat.execute("SELECT owner FROM conversations") == [("ai",)]
    acts = chat.execute("SELECT who, act, subject, detail FROM audit ORDER BY id")
    assert acts == [("Marta", "block", "contact:1", "insults"), ("Marta", "unblock", "contact:1", None)]


def test_who_is_blocked_already_or_not_at_all_is_said_to_be(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert chat.run("contacts", "unblock", ANA) == 1
    assert "the person is not blocked" in capsys.readouterr().err
    chat.run("contacts", "block", ANA)
    assert chat.run("contacts", "block", ANA) == 1
    assert "the person is blocked already, since " in capsys.readouterr().err


def test_nothing_is_written_to_who_is_blocked(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    chat.run("contacts", "block", ANA)
    assert chat.run("conversations", "reply", "1", "Hello") == 1
    assert "the person is blocked: convoq contacts unblock" in capsys.readouterr().err


def test_a_person_that_is_not_there_is_named(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("contacts", "show", "+15551230001") == 1
    assert "there is no conversation with +15551230001" in capsys.readouterr().err
