"""`convoq conversations resend`: a reply that failed is sent again, or why it is not."""

from __future__ import annotations

import json

import pytest

from tests.cli.scenes import Place, receive

UNDELIVERED = "UPDATE outbox SET delivery = 'undelivered', error_code = '30007'"


@pytest.fixture
def undelivered(place: Place) -> Place:
    """#1 is the person's, #2 our reply."""
    place.prepare(lambda database: receive(database, "Hello", sid=1, reply="Hi, Ana!"))
    place.execute(UNDELIVERED)
    return place


def test_a_reply_is_sent_again(undelivered: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert undelivered.run("conversations", "resend", "2") == 0
    assert "#2: is sent again" in capsys.readouterr().err
    assert undelivered.execute("SELECT state, resend_of FROM outbox ORDER BY id") == [("sent", None), ("ready", 1)]
    assert undelivered.execute("SELECT count(*) FROM jobs WHERE kind = 'process_ai_response' AND state = 'ready'") == [
        (1,)
    ]


def test_the_transcript_has_the_second_send_below_the_first(
    undelivered: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    undelivered.run("conversations", "resend", "2")
    undelivered.run("conversations", "show", "1")
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if line.startswith("-> ")][1:] == [
        "-> undelivered, SM000000000000000000000000000003e9, code 30007",
        "-> sent again: ready",
    ]


def test_programs_hear_what_becomes_of_each_part(undelivered: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert undelivered.run("conversations", "resend", "2", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    [part] = document["parts"]
    assert (document["message_id"], part["action"], part["reason"], part["error_code"]) == (2, "send", None, "30007")


def test_programs_hear_the_number_of_the_part_whichever_send_of_it_failed(
    undelivered: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert undelivered.run("conversations", "resend", "2") == 0
    undelivered.execute("UPDATE outbox SET state = 'sent', delivery = 'undelivered'")
    capsys.readouterr()
    assert undelivered.run("conversations", "resend", "2", "--json") == 0
    [part] = json.loads(capsys.readouterr().out)["parts"]
    assert (part["number"], part["part"], part["resend_of"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE contacts SET opted_out_at = 1", "the person has opted out"),
        ("UPDATE outbox SET arrived = 1", "it has arrived"),
        ("UPDATE outbox SET delivery = 'sent'", "it is at the channel, which says sent"),
    ],
)
def test_what_may_not_be_sent_again_is_refused_in_words(
    change: str, why: str, undelivered: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    undelivered.execute(change)
    assert undelivered.run("conversations", "resend", "2") == 1
    assert f"#2 is not sent again: {why}" in capsys.readouterr().err
    assert undelivered.run("conversations", "resend", "2", "--json") == 1
    assert json.loads(capsys.readouterr().out)["parts"][0]["reason"] == why


def test_a_message_of_the_persons_is_none_of_ours(undelivered: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert undelivered.run("conversations", "resend", "1") == 1
    assert "there is no message 1 of ours" in capsys.readouterr().err
