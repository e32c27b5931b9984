"""`convoq conversations`: what is listed, shown and followed, whatever people wrote."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.cli.scenes import ANA, OURS, Place, fail_turn, receive
from tests.cli.test_jobs import Terminal

BEN = "whatsapp:+34600000002"
HOSTILE = "hi\x1b[2J\x9b31m\u202e\n2026-11-22 15:04:01  AI\n    all yours"


def test_the_list_has_the_latest_first_and_the_last_message(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: receive(database, "Hello", sid=1, reply="Hi, Ana!"))
    place.prepare(lambda database: receive(database, "Anyone?", sid=2, address=BEN, name="Ben"))

    assert place.run("conversations", "list") == 0

    rows = capsys.readouterr().out.splitlines()
    assert rows[1].split()[:3] == ["2", "whatsapp:+3460***0002", "Ben"]
    assert rows[1].endswith("person: Anyone?")
    assert rows[2].endswith("AI: Hi, Ana! [sent]")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--waiting"], [2]), (["--status", "active"], [2, 1]), (["--status", "closed"], []),
        (["--address", "0002"], [2]),
        (["--text", "Hello"], [1]), (["--owner", "human"], []), (["--failed"], []), (["--limit", "1"], [2]),
        (["--before", "2"], [1]), (["--since", "1h"], [2, 1]), (["--since", "2100-01-01"], []),
        (["--view", "ai"], [2]), (["--view", "mine", "--as", "Marta"], []), (["--view", "open", "--before", "2"], [1]),
        (["--number", OURS], [2, 1]), (["--number", OURS[-4:], "--view", "closed"], []),
    ],
)  # fmt: skip
def test_filters_choose(
    arguments: list[str], found: list[int], place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: receive(database, "Hello", sid=1, reply="Hi, Ana!"))
    place.prepare(lambda database: receive(database, "Anyone?", sid=2, address=BEN))

    assert place.run("conversations", "list", "--json", *arguments) == 0

    document = json.loads(capsys.readouterr().out)
    assert [conversation["id"] for conversation in document["conversations"]] == found
    assert document["schema_version"] == 1


@pytest.mark.parametrize("given", ["+34600000002", "34600000002", BEN, "+34 600-000-002", "2"])
def test_a_persons_number_shows_their_latest_conversation(
    given: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: receive(database, "Hello", sid=1))
    place.prepare(lambda database: receive(database, "Anyone?", sid=2, address=BEN, name="Ben"))

    assert place.run("conversations", "show", given) == 0
    assert capsys.readouterr().out.startswith(f"Conversation 2: Ben, {BEN}\n")


def test_a_number_that_nobody_or_several_have_is_said(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: receive(database, "Hello", sid=1))
    place.prepare(lambda database: receive(database, "Anyone?", sid=2, address=BEN))

    assert place.run("conversations", "show", "+15551230001") == 1
    assert place.run("conversations", "show", "+3460000000") == 1
    assert place.run("conversations", "show", "Ana") == 2

    errors = capsys.readouterr().err.splitlines()
    assert errors[0] == "convoq: there is no conversation with +15551230001"
    assert errors[1] == f"convoq: +3460000000 is in 2 addresses: say which ({BEN}, {ANA})"
    assert "'Ana' is neither a conversation's id nor an address" in errors[2]


def test_the_transcript_says_what_became_of_each_message(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: receive(database, "Hello", sid=1, reply="Hi, Ana!"))
    place.prepare(lambda database: receive(database, "And now?", sid=2))
    place.execute(
        "INSERT INTO drafts (conversation_id, through_id, state, text, model, created_at)"
        " VALUES (1, 3, 'superseded', 'Soon.', 'm', 1)"
    )

    assert place.run("conversations", "show", "1") == 0

    out = capsys.readouterr().out
    assert out.startswith(f"Conversation 1: Ana, {ANA}\n")
    assert out.index("opened (contact") < out.index("    Hello")
    for words in (
        *("opened (contact: opened)", "    Hello\n    -> answered by #2", "    Hi, Ana!\n    -> sent, SM"),
        *("    And now?\n    -> waits for its answer (job 4)", "draft, given up for newer messages  for #3\n    Soon."),
    ):
        assert words in out


def test_a_failed_part_says_why(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: receive(database, "Hello", reply="Hi", delivered=False))
    place.execute(
        "UPDATE outbox SET state = 'failed', error = 'opted \x1b[5mout', error_code = '21610', settled_at = 1"
    )

    assert place.run("conversations", "show", "1") == 0
    assert "    -> failed, code 21610, opted \\x1b[5mout\n" in capsys.readouterr().out
    assert place.run("conversations", "list", "--failed") == 0
    assert "[failed]" in capsys.readouterr().out


def test_a_message_that_could_not_be_answered_is_among_the_failed(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: receive(database, "Hello", sid=1, reply="Hi, Ana!"))
    place.prepare(lambda database: receive(database, "Anyone?", sid=2, address=BEN, name="Ben"))
    place.prepare(lambda database: fail_turn(database, "model m: no such model"))

    assert place.run("conversations", "list", "--failed") == 0

    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["2"]
    assert rows[0].endswith("person: Anyone? [failed]")


def test_an_unanswered_message_names_its_job_and_the_cause(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: receive(database, "Anyone?"))
    place.prepare(lambda database: fail_turn(database, "Traceback:\n  a line\nValueError: no \x1b[2Jsuch model"))

    assert place.run("conversations", "show", "1") == 0
    words = "-> not answered: ValueError: no \\x1b[2Jsuch model (convoq jobs retry 2)\n"
    assert words in capsys.readouterr().out
    place.run("conversations", "show", "1", "--json")
    [message] = json.loads(capsys.readouterr().out)["messages"]
    assert (message["job_state"], message["job_error"]) == ("dead", "ValueError: no \x1b[2Jsuch model")


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("retry", "-> waits for its answer (job 2: no such model)"),
        ("discard", "-> not answered: no such model\n"),
    ],
)
def test_an_unanswered_message_says_what_was_done_to_its_job(
    verb: str, words: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: receive(database, "Anyone?"))
    place.prepare(lambda database: fail_turn(database, "no such model"))
    place.run("jobs", verb, "2")

    assert place.run("conversations", "show", "1") == 0
    assert words in capsys.readouterr().out


def test_an_unanswered_message_whose_job_was_cancelled_says_so(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: receive(database, "Anyone?"))
    place.run("jobs", "cancel", "2")

    assert place.run("conversations", "show", "1") == 0
    assert "-> not answered: an operator has cancelled it (convoq jobs retry 2)" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["show", "1"], ["list", "--full"], ["show", "1", "--json"]], ids=" ".join)
def test_a_hostile_message_neither_steers_the_terminal_nor_fakes_a_line(
    arguments: list[str], place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: receive(database, HOSTILE, name="\x1b]0;Ana\x07"))

    assert place.run("conversations", *arguments) == 0

    out = capsys.readouterr().out
    assert all(char.isprintable() or char == "\n" for char in out)
    assert "\n2026-11-22 15:04:01  AI" not in out


def test_raw_is_the_text_as_it_was_written(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: receive(database, HOSTILE))

    assert place.run("conversations", "show", "1", "--raw") == 0

    assert capsys.readouterr().out == HOSTILE + "\n"


def test_on_a_terminal_raw_is_harmless(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.prepare(lambda database: receive(database, HOSTILE + "\x7f\x9b2J"))
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)

    assert place.run("conversations", "show", "1", "--raw") == 0

    shown = terminal.getvalue()
    assert shown.count("\n") == HOSTILE.count("\n") + 1
    assert all(line.isprintable() for line in shown.split("\n"))


def test_tail_masks_the_address_and_leaves_the_text(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: receive(database, "Call +34600123456"))

    async def enough(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(asyncio, "sleep", enough)

    assert place.run("conversations", "tail") == 130
    assert place.run("conversations", "tail", "--json") == 130
    out = capsys.readouterr().out
    assert (out.count(ANA), out.count("+34600123456")) == (0, 3)
    assert place.run("conversations", "tail", "-h") == 0
    assert "texts are shown as they were written" in capsys.readouterr().out


def test_the_newest_messages_are_shown_of_a_long_conversation(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(4):
        place.prepare(partial(receive, text=f"m{number}", sid=number, reply=f"r{number}"))

    place.run("conversations", "show", "1", "--limit", "2", "--json")
    document = json.loads(capsys.readouterr().out)
    place.run("conversations", "show", "1", "--limit", "2", "--before", str(document["messages"][0]["id"]), "--json")
    before = json.loads(capsys.readouterr().out)

    assert [message["text"] for message in document["messages"]] == ["m3", "r3"]
    assert [message["text"] for message in before["messages"]] == ["m2", "r2"]
    assert document["message_count"] == 8


def test_a_conversation_that_is_not_there_is_a_failure(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("conversations", "show", "7") == 1
    assert place.run("conversations", "tail", "7") == 1
    assert place.run("conversations", "list", "--before", "7") == 1
    assert capsys.readouterr().err == 3 * "convoq: there is no conversation 7\n"
    assert place.run("conversations", "show", "123456789012345678") == 1
    assert capsys.readouterr().err == "convoq: there is no conversation 123456789012345678\n"
    assert place.run("conversations", "show", 20 * "9") == 2
    assert "is too large for a conversation's id" in capsys.readouterr().err


@pytest.fixture
def tail(place: Place) -> Iterator[Any]:
    """Follows conversations in a process of its own."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "convoq", "--config", str(place.config), "conversations", "tail", *arguments]
        process = subprocess.Popen(
            command, cwd=place.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.process
def test_tail_prints_messages_and_deliveries_as_they_come(place: Place, tail: Any) -> None:
    place.prepare(lambda database: receive(database, "first", sid=1))
    process = tail("--json")
    assert process.stdout is not None
    lines = (json.loads(line) for line in process.stdout)

    assert next(lines)["message"]["text"] == "first"
    place.prepare(lambda database: receive(database, "second", sid=2, reply="answer"))
    second, answer = next(lines), next(lines)
    place.execute("UPDATE outbox SET delivery = 'delivered', delivery_at = 1, delivery_rank = 5")
    deliveries = [next(lines)]
    while deliveries[-1]["delivery"] != "delivered":
        deliveries.append(next(lines))

    assert (second["type"], second["message"]["text"], second["address"]) == (
        "message",
        "second",
        "whatsapp:+3460***0001",
    )
    assert (answer["message"]["author"], answer["message"]["text"]) == ("ai", "answer")
    assert deliveries[-1]["type"] == "delivery"
    assert deliveries[-1]["schema_version"] == 1


@pytest.mark.process
def test_an_interrupt_ends_tail_without_a_word(place: Place, tail: Any) -> None:
    place.prepare(lambda database: receive(database, "first"))
    process = tail()
    assert process.stdout is not None
    assert process.stdout.readline().endswith("first\n")

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)

    assert (process.returncode, out, err) == (130, "", "")


def test_tail_of_one_conversation_starts_with_its_lines(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: receive(database, "of Ana", sid=1))
    place.prepare(lambda database: receive(database, "of\nBen", sid=2, address=BEN))

    async def enough(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(asyncio, "sleep", enough)

    assert place.run("conversations", "tail", "2") == 130
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("2  <- whatsapp:+3460***0002  of\\nBen")


def test_a_turn_is_shown_step_by_step(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: receive(database, "Hello", sid=1, reply="Hi, Ana!"))
    assert place.run("conversations", "turn", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Conversation 1: #2 answers 1 message in ")
    assert [line.split()[2] for line in lines[2:5]] == ["accepted", "committed", "sent"]
    assert place.run("conversations", "turn", "2", "--json") == 0
    assert json.loads(capsys.readouterr().out)["answers"] == [1]
    assert place.run("conversations", "turn", "9") == 1
    assert "there is no message 9" in capsys.readouterr().err
