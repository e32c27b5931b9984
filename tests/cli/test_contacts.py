"""`convoq contacts`: a person at a glance, and a block that holds in all their conversations."""

from __future__ import annotations

import json

import pytest

from tests.cli.scenes import ANA, Place, receive

ANA_SMS = "+34600000001"


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


@pytest.mark.parametrize("spelled", ["34600000001", "+34\u00a0600\u2011000\u2011001", "whatsapp:0034 600 000 001", "2"])
def test_a_person_is_known_by_both_addresses_of_the_number(
    chat: Place, spelled: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chat.prepare(lambda database: receive(database, "By SMS", sid=2, address=ANA_SMS))
    assert chat.run("contacts", "show", spelled) == 0
    shown = capsys.readouterr().out.splitlines()
    assert set(shown[0].split(", ")) == {"Ana", ANA, ANA_SMS}
    assert [line.split()[0] for line in shown[2:]] == ["2", "1"]
    assert chat.run("contacts", "block", spelled, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    contacts = [found["contact"], *found["others"]]
    assert {one["address"] for one in contacts if one["blocked_at"]} == {ANA, ANA_SMS}
    assert chat.execute("SELECT DISTINCT outcome FROM messages") == [("blocked",)]


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


def test_a_name_that_is_given_stays_until_it_is_taken_back(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert chat.run("contacts", "name", ANA, "Ana Ruiz", "--as", "Marta") == 0
    assert capsys.readouterr().err == f"{ANA} is Ana Ruiz\n"
    chat.prepare(lambda database: receive(database, "Me again", sid=7))
    assert chat.execute("SELECT name, named_by FROM contacts") == [("Ana Ruiz", "Marta")]
    assert chat.run("contacts", "name", ANA, "--as", "Marta") == 0
    chat.prepare(lambda database: receive(database, "And again", sid=8))
    assert chat.execute("SELECT name, named_by FROM contacts") == [("Ana", None)]


def test_facts_are_added_listed_and_taken_out(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert chat.run("contacts", "facts", ANA, "--add", "vegetarian", "--add", "has a dog", "--as", "Marta") == 0
    assert capsys.readouterr().err == f"2 facts of {ANA}\n"
    assert chat.run("contacts", "facts", ANA, "--remove", "1", "--add", "has two dogs", "--as", "Luis") == 0
    chat.run("contacts", "facts", ANA)
    first, second = capsys.readouterr().out.splitlines()
    assert (first.startswith("1  has a dog  (Marta, "), second.startswith("2  has two dogs  (Luis, ")) == (True, True)
    chat.run("contacts", "show", ANA)
    assert "1  has a dog" in capsys.readouterr().out
    assert chat.run("contacts", "facts", ANA, "--remove", "3") == 1
    assert "there is no fact 3" in capsys.readouterr().err
    assert chat.run("contacts", "facts", ANA, "--add", "x" * 201) == 2
    assert chat.run("contacts", "facts", ANA, *(f"--add=fact {number}" for number in range(20))) == 1
    assert "22 facts: at most 20" in capsys.readouterr().err


def test_who_is_erased_is_known_no_more(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert chat.run("contacts", "erase", "+34 600-000 001", "--yes", "--as", "Marta") == 0
    output = capsys.readouterr()
    assert output.out == "Erased: 1 conversation, 1 message, 2 jobs (1 process_ai_response, 1 receive_message).\n"
    assert b"34600000001" not in chat.database.read_bytes()
    assert chat.execute("SELECT who, act, subject, detail FROM audit") == [("Marta", "erase", "contact:1", None)]
    assert chat.run("contacts", "erase", "0034600000001", "--yes") == 1
    assert "nothing is known of +34600000001" in capsys.readouterr().err


def test_without_a_yes_nothing_is_erased(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert chat.run("contacts", "erase", ANA, "--as", "Marta") == 2
    assert "Nobody can be asked here: add --yes, or look first with --dry-run" in capsys.readouterr().err
    assert chat.run("contacts", "erase", ANA, "--dry-run", "--as", "Marta") == 0
    assert "1 conversation, 1 message, 2 jobs" in capsys.readouterr().out
    assert chat.execute("SELECT address FROM contacts") == [(ANA,)]


def test_an_erasure_is_told_to_programs_without_the_number(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert chat.run("contacts", "erase", ANA, "--yes", "--json", "--as", "Marta") == 0
    printed = capsys.readouterr().out
    assert json.loads(printed) == {
        "schema_version": 1,
        "dry_run": False, "contacts": 1, "conversations": 1, "messages": 1, "jobs": 2, "parts_under_way": 0,
        "files_left": [],
    }  # fmt: skip


def test_a_number_without_its_country_code_is_refused_in_one_line(
    chat: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chat.run("contacts", "erase", "(600) 00", "--yes") == 2
    assert "'(600) 00' is no number with its country code, such as +15551230001" in capsys.readouterr().err


def test_nothing_is_written_to_who_was_erased(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    chat.run("contacts", "erase", ANA, "--yes")
    for act in (("reply", "1", "Hello"), ("take-over", "1"), ("show", "1"), ("list",)):
        chat.run("conversations", *act)
    assert "Traceback" not in capsys.readouterr().err
    assert chat.run("conversations", "reply", "1", "Hello") == 1
    assert "the person was erased" in capsys.readouterr().err
