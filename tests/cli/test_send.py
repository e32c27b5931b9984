"""`convoq send`: a person of ours writes first."""

from __future__ import annotations

import json

import pytest

from tests.cli.scenes import ANA, OURS, Place, receive

BEN = "+15551230002"
OUR_SMS = "+15550009999"


def test_who_never_wrote_is_written_to_and_the_chat_is_the_writers(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.run("send", BEN, "Your table is ready.", "--from", OUR_SMS, "--as", "Marta") == 0
    assert capsys.readouterr().err == "#1 in conversation 1 is to be sent\n"
    assert place.execute("SELECT owner, owner_name FROM conversations") == [("human", "Marta")]
    assert place.execute("SELECT state, body FROM outbox") == [("ready", "Your table is ready.")]
    assert place.execute("SELECT who, act, conversation_id FROM audit") == [("Marta", "send", 1)]


def test_the_number_of_ours_that_they_wrote_to_is_taken(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(f'[[numbers]]\naddress = "{OUR_SMS}"\npersona = "default"\n')
    place.prepare(lambda database: receive(database, "Hello", reply="Hi!"))
    assert place.run("send", ANA, "One more thing", "--json") == 0
    assert json.loads(capsys.readouterr().out)["conversation"]["our_address"] == OURS
    assert place.run("send", BEN, "Hello", "--json") == 0
    assert json.loads(capsys.readouterr().out)["conversation"]["our_address"] == OUR_SMS


def test_which_number_of_ours_must_be_said_where_several_would_do(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = "".join(f'[[numbers]]\naddress = "{one}"\npersona = "default"\n' for one in (OUR_SMS, "+15550008888"))
    place.configure(numbers)
    assert place.run("send", BEN, "Hello") == 2
    assert f"say which number of yours, with --from: +15550008888, {OUR_SMS}" in capsys.readouterr().err
    assert place.run("send", BEN, "Hello", "--from", "9999") == 0


def test_without_any_number_of_ours_that_is_said(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("send", BEN, "Hello") == 2
    assert "no number of yours is known for SMS" in capsys.readouterr().err
    assert place.run("send", ANA, "Hello", "--from", OUR_SMS) == 1
    assert f"{OUR_SMS} is no address of ours" in capsys.readouterr().err


def test_whatsapp_takes_no_text_to_who_never_wrote(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("send", ANA, "Hello", "--from", OURS, "--json") == 1
    assert json.loads(capsys.readouterr().out)["refused"] == "window"
    assert place.execute("SELECT count(*) FROM conversations") == [(0,)]


@pytest.mark.parametrize("address", ["Ana", "12", "whatsapp:"])
def test_what_is_no_address_is_refused(address: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("send", address, "Hello") == 2
    assert f"'{address}' is no address such as whatsapp:+15551230001" in capsys.readouterr().err
