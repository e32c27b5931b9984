"""`convoq contacts export`: one file with everything that names a person."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.scenes import ANA, OURS, Place, enqueue, job, receive


@pytest.fixture
def chat(place: Place) -> Place:
    place.prepare(lambda database: receive(database, "Are you open?", reply="Until six."))
    place.prepare(lambda database: enqueue(database, [job("greet")]))
    assert place.run("conversations", "note", "1", "likes tea", "--as", "Marta") == 0
    return place


def exported(place: Place) -> Any:
    path = place.directory / "ana.json"
    assert place.run("contacts", "export", "0034 600 000 001", str(path), "--as", "Marta") == 0
    assert path.stat().st_mode & 0o777 == 0o600
    return json.loads(path.read_text())


def test_all_that_there_is_of_a_person_is_in_one_file(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    document = exported(chat)
    assert capsys.readouterr().out.endswith(f"{chat.directory / 'ana.json'}: 2 messages, 1 job\n")
    [contact] = document["contacts"]
    [conversation] = contact["conversations"]
    assert (contact["address"], contact["name"], conversation["our_address"]) == (ANA, "Ana", OURS)
    texts = [(one["author"], one["text"], [part["text"] for part in one["parts"]]) for one in conversation["messages"]]
    assert texts == [("contact", "Are you open?", []), ("ai", "Until six.", ["Until six."])]
    assert [note["text"] for note in conversation["notes"]] == ["likes tea"]
    assert [draft["text"] for draft in conversation["drafts"]] == ["Until six."]
    assert [(one["kind"], dict(one["payload"]["form"])["Body"]) for one in document["jobs"]] == [
        ("receive_message", "Are you open?")
    ]


def test_whatever_holds_a_text_of_the_person_is_exported(chat: Place) -> None:
    """What an erasure takes out, an export gives: a new column of either is a new one of the other."""
    known = {
        "contacts",
        "conversations",
        "messages",
        "outbox",
        "drafts",
        "operator_notes",
        "transitions",
        "contact_facts",
    }
    known |= {"notifications", "alarms"}  # facts without a text, which go with an erasure
    statement = (
        "SELECT DISTINCT m.name FROM sqlite_schema AS m, pragma_foreign_key_list(m.name) AS k WHERE m.type = 'table'"
    )
    tables = {name for (name,) in chat.execute(statement)}
    assert tables - known == {
        *("threads", "model_calls", "audit"),  # the address; costs; acts
        "idempotency_keys",  # what a program was answered to an act, for a day
    }


def test_who_exported_is_on_record(chat: Place) -> None:
    exported(chat)
    acts = chat.execute("SELECT who, act, subject FROM audit ORDER BY id DESC LIMIT 1")
    assert acts == [("Marta", "export", "contact:1")]


def test_a_file_that_is_there_is_left_alone(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    (chat.directory / "ana.json").write_text("mine")
    assert chat.run("contacts", "export", ANA, str(chat.directory / "ana.json")) == 1
    assert "is there already: choose another name" in capsys.readouterr().err
    assert (chat.directory / "ana.json").read_text() == "mine"


def test_on_standard_output_it_is_the_document_alone(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert chat.run("contacts", "export", ANA, "-") == 0
    assert json.loads(capsys.readouterr().out)["schema_version"] == 1


def test_of_who_is_not_known_nothing_is_written(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert chat.run("contacts", "export", "+15551230099", str(chat.directory / "none.json")) == 1
    assert "nothing is known of +15551230099" in capsys.readouterr().err
    assert not (chat.directory / "none.json").exists()
