"""`convoq operators` and `convoq audit`: who may act, and who did."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.scenes import ANA, Place, receive


@pytest.fixture
def chat(place: Place) -> Place:
    place.prepare(lambda database: receive(database, "Hello"))
    return place


def acts(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["acts"]
    return found


def test_once_there_are_operators_only_they_act(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert chat.run("operators", "add", "Marta") == 0
    assert chat.run("operators", "add", "Luis") == 0
    capsys.readouterr()
    assert chat.run("conversations", "takeover", "1", "--as", "Ben", "--json") == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["refused"] == "operator"
    assert "Ben is no operator; there are Luis, Marta" in printed.err
    assert chat.run("conversations", "takeover", "1") == 2
    assert "say who you are, with --as: Luis, Marta" in capsys.readouterr().err
    assert chat.run("conversations", "takeover", "1", "--as", "marta") == 0
    assert capsys.readouterr().err == "Marta answers conversation 1: the AI is silent\n"


def test_who_is_gone_acts_no_more_and_what_they_had_waits_for_a_colleague(
    chat: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    chat.run("operators", "add", "Luis")
    chat.run("conversations", "takeover", "1", "--as", "Luis")
    capsys.readouterr()
    assert chat.run("operators", "remove", "Luis", "--as", "Marta") == 0
    assert capsys.readouterr().err == "Luis is no operator any more; 1 conversation waits\n"
    assert chat.execute("SELECT owner, owner_name, handed_reason FROM conversations") == [
        ("waiting", None, "unattended")
    ]
    assert chat.run("conversations", "reply", "1", "Hi", "--as", "luis") == 1
    assert "Luis is no operator any more: removed by Marta" in capsys.readouterr().err
    assert chat.execute("SELECT count(*) FROM outbox") == [(0,)]


def test_who_was_removed_can_be_added_again(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("add", "Luis"), ("remove", "luis"), ("add", "LUIS")):
        assert chat.run("operators", *arguments, "--as", "Marta") == 0
    capsys.readouterr()
    assert chat.run("operators", "list", "--json") == 0
    [luis] = json.loads(capsys.readouterr().out)["operators"]
    assert (luis["name"], luis["added_by"], luis["removed_at"]) == ("Luis", "Marta", None)


def test_operators_are_listed_for_people(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("operators", "list") == 0
    assert "There are none yet" in capsys.readouterr().err
    place.run("operators", "add", "Luis", "--as", "Marta")
    place.run("operators", "remove", "Luis", "--as", "Marta")
    assert place.run("operators", "list") == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("by Marta")


@pytest.mark.parametrize(
    ("name", "code", "why"),
    [
        ("system", 1, '"system" cannot be the name of a person'),
        ("x" * 41, 1, "a name has at most 40 characters, not 41"),
        ("a\x1b[31m", 2, "is not one line"),
        (" ", 2, "is not one line"),
    ],
    ids=["taken", "long", "control", "blank"],
)
def test_what_cannot_be_a_name_is_refused(
    name: str, code: int, why: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.run("operators", "add", name) == code
    assert why in capsys.readouterr().err


def test_who_is_there_already_or_not_at_all_is_said_to_be(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.run("operators", "add", "Marta")
    assert place.run("operators", "add", "marta") == 1
    assert "Marta is an operator already" in capsys.readouterr().err
    assert place.run("operators", "remove", "Luis") == 1
    assert "Luis is no operator" in capsys.readouterr().err


def test_the_audit_trail_has_each_act_newest_first(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    chat.run("conversations", "takeover", "1", "--as", "Marta")
    chat.run("conversations", "reply", "1", "Hi", "--as", "Marta")
    chat.run("conversations", "pause", "--number", "+14155238886", "--as", "Luis")
    capsys.readouterr()
    assert chat.run("audit", "--json") == 0
    found = acts(capsys)
    assert [(one["who"], one["act"], one["conversation_id"], one["detail"]) for one in found] == [
        ("Luis", "pause", None, None), ("Marta", "reply", 1, "#2"), ("Marta", "take_over", 1, "from ai"),
    ]  # fmt: skip
    assert found[0]["subject"] == "number:whatsapp:+1415***8886"
    assert chat.run("audit") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["ENTRY", "3", "2", "1"]


def test_the_audit_trail_is_searched_and_paged(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    chat.run("conversations", "takeover", "1", "--as", "Marta")
    chat.run("contacts", "block", ANA, "--as", "Luis")
    capsys.readouterr()
    for arguments, ids in (
        (["--who", "Marta"], [1]), (["--conversation", "1"], [1]), (["--since", "1h", "--limit", "1"], [2]),
        (["--before", "2"], [1]), (["--who", "nobody"], []),
    ):  # fmt: skip
        assert chat.run("audit", *arguments, "--json") == 0
        assert [one["id"] for one in acts(capsys)] == ids
    assert chat.run("audit", "--limit", "1") == 0
    assert capsys.readouterr().err == "There are more: convoq audit --before 2\n"


def test_an_operators_phone_is_listed_and_may_be_forgotten(chat: Place, capsys: pytest.CaptureFixture[str]) -> None:
    chat.run("operators", "add", "Marta", "--as", "root")
    capsys.readouterr()
    assert chat.run("operators", "phone", "marta", "+34 600-000-001", "--alerts", "--as", "root") == 0
    assert capsys.readouterr().err == "what comes from +34600000001 is Marta's and is told there who waits\n"
    chat.run("operators", "list", "--json")
    [marta] = json.loads(capsys.readouterr().out)["operators"]
    assert (marta["phone"], marta["alerts"]) == ("+34600000001", True)
    assert chat.run("operators", "phone", "Marta", "--as", "root") == 0
    assert capsys.readouterr().err == "Marta has no phone for commands any more\n"
    assert chat.execute("SELECT phone FROM operators") == [(None,)]
    assert chat.execute("SELECT name FROM notify_targets") == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("Marta", "600 000 001 x"), 2, "is no number with its country code, such as +15551230001"),
        (("Marta", "72345"), 2, "is no number with its country code, such as +15551230001"),
        (("Ben", "+34600000001"), 1, "Ben is no operator"),
        (("Marta", "+34600000009"), 1, "+34600000009 is the phone of Luis: one number, one operator"),
        (("Marta", "+14155238886"), 1, "+14155238886 is a number of ours: an operator's phone is their own"),
    ],
)
def test_a_phone_that_cannot_be_an_operators_is_refused_with_the_reason(
    chat: Place, capsys: pytest.CaptureFixture[str], arguments: tuple[str, str], code: int, said: str
) -> None:
    for name in ("Marta", "Luis"):
        chat.run("operators", "add", name, "--as", "root")
    chat.run("operators", "phone", "Luis", "+34600000009", "--as", "root")
    capsys.readouterr()
    assert chat.run("operators", "phone", *arguments, "--as", "root") == code
    assert said in capsys.readouterr().err
