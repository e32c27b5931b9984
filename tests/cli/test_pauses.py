"""`convoq conversations pause`, resume and pauses: where the AI is silent for a while."""

from __future__ import annotations

import json

import pytest

from tests.cli.scenes import OURS, Place, receive


@pytest.fixture
def chat(place: Place) -> Place:
    place.prepare(lambda database: receive(database, "Hello", reply="Hi!"))
    return place


@pytest.mark.parametrize(
    ("where", "scope", "words"),
    [
        (["1"], "thread:1", "thread 1"),
        (["--number", "+14155238886"], f"number:{OURS}", "whatsapp:+1415***8886"),
        (["--all"], "all", "everywhere"),
    ],
    ids=["chat", "number", "all"],
)
def test_the_ai_is_paused_there_until_it_is_resumed(
    where: list[str], scope: str, words: str, chat: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chat.run("conversations", "pause", *where, "--reason", "new prices", "--as", "Marta") == 0
    assert capsys.readouterr().err == f"the AI is paused: {words}\n"
    chat.run("conversations", "pauses", "--json")
    [found] = json.loads(capsys.readouterr().out)["pauses"]
    assert (found["scope"], found["who"], found["reason"]) == (scope, "Marta", "new prices")
    chat.run("conversations", "list")
    assert "paused" in capsys.readouterr().out
    assert chat.run("conversations", "resume", *where, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"schema_version": 1, "scope": scope, "returned_conversations": 0}
    assert chat.execute("SELECT act, subject FROM audit ORDER BY id") == [("pause", scope), ("resume", scope)]


def test_pauses_are_listed_for_people(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert chat.run("conversations", "pauses") == 0
    assert capsys.readouterr().err == "The AI is paused nowhere.\n"
    chat.run("conversations", "pause", "--all", "--as", "Marta")
    assert chat.run("conversations", "pauses") == 0
    assert "everywhere" in capsys.readouterr().out


@pytest.mark.parametrize("where", [[], ["1", "--all"], ["--all", "--number", OURS]], ids=len)
def test_it_must_be_said_where_and_only_once(where: list[str], chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert chat.run("conversations", "pause", *where) == 2
    assert "say where: the id of a conversation, --number ADDRESS, or --all" in capsys.readouterr().err


def test_a_number_that_is_not_ours_is_refused_with_those_that_are(
    chat: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chat.run("conversations", "pause", "--number", "+999") == 1
    assert f"+999 is no address of ours: say which ({OURS})" in capsys.readouterr().err


def test_what_is_paused_already_says_by_whom(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    chat.run("conversations", "pause", "--all", "--as", "Marta")
    assert chat.run("conversations", "pause", "--all") == 1
    assert "it is paused already, by Marta since " in capsys.readouterr().err
    assert chat.run("conversations", "resume", "1") == 1
    assert "it is not paused" in capsys.readouterr().err
