"""`convoq conversations takeover`, reply, note, release and close: what they do, say and refuse."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import pytest

from tests.cli.scenes import ANA, Place, receive

OWNER = "SELECT owner, owner_name, owner_version FROM conversations"
OUTCOMES = "SELECT outcome, answered_by FROM messages WHERE direction = 'in' ORDER BY id"
LAST_ACT = "SELECT who, act, conversation_id FROM audit ORDER BY id DESC LIMIT 1"
READY_TURNS = "SELECT count(*) FROM jobs WHERE kind = 'process_ai_response' AND state = 'ready'"


@pytest.fixture
def chat(place: Place) -> Place:
    """Conversation 1: #1 of Ana's waits for its answer."""
    place.prepare(lambda database: receive(database, "Is anybody there?"))
    return place


@pytest.fixture
def answered(place: Place) -> Place:
    """Conversation 1: the request for the answer to #1 has begun."""
    place.prepare(lambda database: receive(database, "Hello", reply="Hi, Ana!", delivered=False))
    return place


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_who_takes_over_answers_from_then_on(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert chat.run("conversations", "takeover", "1", "--as", "Marta") == 0
    assert capsys.readouterr().err == "Marta answers conversation 1: the AI is silent\n"
    assert chat.execute(OWNER) == [("human", "Marta", 1)]
    assert chat.execute(OUTCOMES) == [("human", None)]
    assert chat.execute(LAST_ACT) == [("Marta", "take_over", 1)]


def test_without_a_name_it_is_the_login_that_acts(chat: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "marta")
    assert chat.run("conversations", "takeover", ANA) == 0
    assert chat.execute(LAST_ACT) == [("marta", "take_over", 1)]


def test_programs_hear_what_a_take_over_has_stopped(answered: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert answered.run("conversations", "takeover", "1", "--as", "Marta", "--json") == 0
    found = document(capsys)
    assert (found["owner_before"], found["unsent_parts"], found["parts_under_way"]) == ("ai", 0, 1)
    assert (found["conversation"]["owner_name"], found["conversation"]["owner_version"]) == ("Marta", 1)


def test_an_answer_that_had_begun_to_be_sent_is_told_of(answered: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert answered.run("conversations", "takeover", "1", "--as", "Marta") == 0
    assert "1 part of it had begun to be sent, and may have left" in capsys.readouterr().err


def test_a_reply_takes_over_and_answers_what_waits(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert chat.run("conversations", "reply", "1", "Yes, I am.", "--as", "Marta") == 0
    assert capsys.readouterr().err == "#2 in conversation 1 is to be sent, answers 1 message\n"
    assert chat.execute(OWNER) == [("human", "Marta", 1)]
    assert chat.execute(OUTCOMES) == [("human", 2)]
    assert chat.execute("SELECT author, written_by, body FROM messages WHERE id = 2") == [
        ("operator", "Marta", "Yes, I am.")
    ]
    assert chat.execute("SELECT state, body FROM outbox") == [("ready", "Yes, I am.")]
    assert chat.execute(READY_TURNS) == [(1,)]


def test_a_reply_with_the_same_key_is_sent_once(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert chat.run("conversations", "reply", "1", "Yes.", "--key", "k1", "--json") == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert [(one["message_id"], one["new"]) for one in (first, second)] == [(2, True), (2, False)]
    assert chat.execute("SELECT count(*) FROM outbox") == [(1,)]


def test_a_text_may_come_on_standard_input(chat: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Sí,\nclaro.\n".encode())))
    assert chat.run("conversations", "reply", "1", "-") == 0
    assert chat.execute("SELECT body FROM outbox") == [("Sí,\nclaro.",)]


def test_what_steers_a_terminal_is_not_sent(chat: Place) -> None:
    assert chat.run("conversations", "reply", "1", "ab\x1b[31mc\x07d") == 0
    assert chat.execute("SELECT body FROM outbox") == [("abcd",)]


@pytest.mark.parametrize(
    ("text", "code", "why"),
    [
        ("x" * 5000, 1, "the text has 5,000 characters; at most 4,000 can be sent at once"),
        ("\x1b[31m\x07 ", 1, "the text is empty, or holds nothing that can be seen"),
        ("", 1, "the text is empty, or holds nothing that can be seen"),
        ("caf\udce9", 2, "the text: not UTF-8 text (byte 4)"),
    ],
    ids=["long", "invisible", "empty", "bytes"],
)
@pytest.mark.parametrize("verb", ["reply", "note"])
def test_a_text_that_cannot_be_sent_is_refused_and_nothing_is_done(
    verb: str, text: str, code: int, why: str, chat: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chat.run("conversations", verb, "1", text) == code
    assert why in capsys.readouterr().err
    assert chat.execute(OWNER) == [("ai", None, 0)]
    assert chat.execute("SELECT (SELECT count(*) FROM audit) + (SELECT count(*) FROM operator_notes)") == [(0,)]


@pytest.mark.parametrize(
    "arguments", [("takeover", "1"), ("reply", "1", "Mine."), ("release", "1"), ("close", "1")], ids=lambda one: one[0]
)
def test_what_a_colleague_has_is_not_taken_by_mistake(
    arguments: tuple[str, ...], chat: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    chat.run("conversations", "takeover", "1", "--as", "Luis")
    capsys.readouterr()
    assert chat.run("conversations", *arguments, "--as", "Marta", "--json") == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["refused"] == "not_owner"
    assert "Luis answers conversation 1, since " in printed.err
    assert printed.err.endswith(": with --force it is yours\n")
    assert chat.execute(OWNER) == [("human", "Luis", 1)]
    assert chat.run("conversations", *arguments, "--as", "Marta", "--force") == 0


def test_who_acts_on_an_older_state_is_told_who_has_it(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    chat.run("conversations", "takeover", "1", "--as", "Luis")
    capsys.readouterr()
    assert chat.run("conversations", "takeover", "1", "--as", "Marta", "--if-version", "0") == 1
    told = capsys.readouterr().err
    assert "conversation 1 has changed meanwhile: Luis answers it now: look again: convoq conversations show" in told


@pytest.mark.process
def test_of_two_operators_at_once_one_has_it_and_the_other_is_told(chat: Place) -> None:
    command = [sys.executable, "-m", "convoq", "--config", str(chat.config), "conversations", "takeover", "1", "--as"]
    names = ("Marta", "Luis")
    running = [subprocess.Popen([*command, name], stderr=subprocess.PIPE, text=True) for name in names]
    told = {name: one.communicate(timeout=60)[1] for name, one in zip(names, running, strict=True)}
    [(_, winner, _)] = chat.execute(OWNER)
    [loser] = set(names) - {winner}
    assert sorted(one.returncode for one in running) == [0, 1]
    assert f"{winner} answers conversation 1, since " in told[loser]


def test_a_closed_window_is_refused_with_what_opens_it(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    chat.execute("UPDATE threads SET last_inbound_at = last_inbound_at - 86400000")
    assert chat.run("conversations", "reply", "1", "Hello again", "--json") == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["refused"] == "window"
    assert printed.err == (
        "convoq: more than 24 hours since the person's last message: WhatsApp takes only an approved template now "
        "(none is on record: convoq templates sync asks Twilio for them): the person's next message "
        "opens it for 24 hours\n"
    )
    assert chat.execute(OWNER) == [("ai", None, 0)]


def test_what_was_given_back_unanswered_waits_for_the_ai_again(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    chat.run("conversations", "takeover", "1", "--as", "Marta")
    chat.execute("UPDATE jobs SET state = 'done'")
    capsys.readouterr()
    assert chat.run("conversations", "release", "1", "--as", "Marta") == 0
    assert capsys.readouterr().err == "the AI answers conversation 1, first of all 1 message that nobody has\n"
    assert (chat.execute(OUTCOMES), chat.execute(OWNER)) == ([(None, None)], [("ai", None, 2)])
    assert chat.execute(READY_TURNS) == [(1,)]


def test_a_note_stands_in_the_transcript_and_is_sent_to_nobody(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert chat.run("conversations", "note", "1", "calls back\nat 5", "--as", "Marta") == 0
    assert capsys.readouterr().err == "noted in conversation 1\n"
    assert chat.execute("SELECT count(*) FROM outbox") == [(0,)]
    chat.run("conversations", "show", "1")
    shown = capsys.readouterr().out
    assert "note of Marta\n    calls back\n    at 5\n" in shown
    chat.run("conversations", "show", "1", "--json")
    assert [(note["who"], note["text"]) for note in document(capsys)["notes"]] == [("Marta", "calls back\nat 5")]


def test_a_closed_conversation_is_taken_over_no_more_and_a_reply_goes_on_in_a_new_one(
    chat: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chat.run("conversations", "close", "1", "--as", "Marta") == 0
    assert "conversation 1 is closed\n" in capsys.readouterr().err
    assert chat.execute(OUTCOMES) == [("no_reply", None)]
    chat.run("conversations", "show", "1")
    assert "no answer: Marta closed the conversation" in capsys.readouterr().out
    assert chat.run("conversations", "takeover", "1") == 1
    assert "conversation 1 is closed (operator)" in capsys.readouterr().err
    assert chat.run("conversations", "reply", "1", "One more thing", "--as", "Marta") == 0
    assert "#2 in conversation 2 is to be sent" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["takeover", "release", "close"])
def test_a_conversation_that_is_not_there_is_named(verb: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("conversations", verb, "7") == 1
    assert "there is no conversation 7" in capsys.readouterr().err


def test_who_leaves_it_to_a_colleague_lets_it_wait(answered: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert answered.run("conversations", "leave", "1", "--as", "Marta") == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "conversation 1 waits for a person"
    assert "1 part of it had begun to be sent" in said[1]
    assert answered.execute(OWNER) == [("waiting", None, 1)]
    assert answered.run("conversations", "leave", "1", "--if-version", "0", "--as", "Marta") == 1
    assert "has changed meanwhile: waiting answers it now" in capsys.readouterr().err


def test_who_leaves_it_to_nobody_is_told_so(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert chat.run("conversations", "leave", "1", "--to-nobody", "--as", "Marta") == 0
    assert capsys.readouterr().err == "nobody answers conversation 1\n"
    assert chat.execute("SELECT owner, handed_reason FROM conversations") == [("nobody", "set_aside")]
    assert chat.execute(LAST_ACT) == [("Marta", "set_aside", 1)]


def test_a_closed_one_goes_on_with_whoever_had_it(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    chat.run("conversations", "takeover", "1", "--as", "Marta")
    chat.run("conversations", "close", "1", "--as", "Marta")
    capsys.readouterr()
    assert chat.run("conversations", "reopen", "1", "--as", "Luis") == 0
    assert capsys.readouterr().err == "conversation 1 goes on, answered by Marta\n"
    assert chat.run("conversations", "reopen", "1", "--as", "Luis", "--json") == 1
    assert document(capsys)["refused"] == "unchanged"
