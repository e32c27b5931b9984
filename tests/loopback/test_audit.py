"""The books are held against each other: a record that was doctored is found out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from convoq.demo.promises import audit_promises, echo_promise
from convoq.loopback.audit import AcceptedMessage, AuditResult, DatabaseRecord, MessageRecord, audit
from convoq.loopback.messages import TwilioMessage

ANA, BEN = "whatsapp:+447700900101", "+12025550142"
ACCEPTED = [
    AcceptedMessage("SM1", ANA, "one"),
    AcceptedMessage("SM2", ANA, "two"),
    AcceptedMessage("SM3", BEN, "three"),
]
RECORD = DatabaseRecord(
    {
        "SM1": MessageRecord(sid="SM1", outcome="answered", references=("a",), sent=1),
        "SM2": MessageRecord(sid="SM2", outcome="answered", references=("b", "c"), sent=2),
        "SM3": MessageRecord(sid="SM3", outcome="answered", references=("d",), sent=1),
    }
)


def at_twilio(*references: str) -> list[TwilioMessage]:
    owners = {"d": (BEN, "“three”"), "a": (ANA, "“one”"), "b": (ANA, "“two”"), "c": (ANA, "more")}
    return [
        TwilioMessage(sid=f"SM{place}{reference}", to=owners.get(reference, (ANA, ""))[0], from_="+1",
                body=owners.get(reference, (ANA, "?"))[1], created=place, reference=reference)
        for place, reference in enumerate(references)
    ]  # fmt: skip


def changed(sid: str, **differently: object) -> DatabaseRecord:
    return DatabaseRecord({**RECORD.entries, sid: replace(RECORD.entries[sid], **differently)})  # type: ignore[arg-type] # fields by name


def all_kept(found: AuditResult) -> bool:
    return all(promise.kept for promise in audit_promises(found))


def test_books_that_agree_hold() -> None:
    found = audit(ACCEPTED, RECORD, at_twilio("a", "d", "b", "c"))
    assert found.passed
    assert all_kept(found)
    assert found.answered == 3


def test_a_reply_that_is_not_at_twilio_is_lost() -> None:
    found = audit(ACCEPTED, RECORD, at_twilio("a", "b", "c"))
    assert found.lost == ("SM3",)
    assert not found.passed
    assert not all_kept(found)


def test_a_message_that_the_database_does_not_know_is_lost() -> None:
    entries = {sid: entry for sid, entry in RECORD.entries.items() if sid != "SM2"}
    assert audit(ACCEPTED, DatabaseRecord(entries), at_twilio("a", "d")).lost == ("SM2",)


def test_a_message_in_the_dead_letters_is_lost() -> None:
    dead = changed("SM3", outcome=None, dead=True, references=(), sent=0)
    assert audit(ACCEPTED, dead, at_twilio("a", "b", "c")).lost == ("SM3",)


def test_an_answer_that_consists_of_nothing_is_lost() -> None:
    empty = changed("SM3", references=(), sent=0)
    assert audit(ACCEPTED, empty, at_twilio("a", "b", "c")).lost == ("SM3",)


def test_a_reply_that_was_sent_twice_is_doubled() -> None:
    found = audit(ACCEPTED, RECORD, at_twilio("a", "b", "c", "d", "d"))
    assert found.doubled == ("SM4d",)
    assert not found.passed
    assert not all_kept(found)


def test_a_second_reply_to_the_same_message_is_doubled() -> None:
    found = audit(ACCEPTED, RECORD, at_twilio("a", "b", "c", "d", "other"))
    assert found.doubled == ("SM4other",)


def test_what_we_said_without_being_asked_is_no_double() -> None:
    record = DatabaseRecord(RECORD.entries, frozenset({"other"}))
    assert audit(ACCEPTED, record, at_twilio("a", "b", "c", "d", "other")).passed


def test_an_answer_before_the_one_to_an_earlier_message_is_out_of_order() -> None:
    found = audit(ACCEPTED, RECORD, at_twilio("b", "c", "a", "d"))
    assert found.disordered == ("SM2",)
    assert not found.passed
    assert not all_kept(found)


@pytest.mark.parametrize("waits", [{"outcome": None, "references": ()}, {"unsettled": 1, "sent": 0}])
def test_what_is_on_its_way_waits_and_is_not_lost(waits: dict[str, object]) -> None:
    found = audit(ACCEPTED, changed("SM3", **waits), at_twilio("a", "b", "c"))
    assert (found.waiting, found.lost) == (("SM3",), ())
    assert not all_kept(found)


def test_silence_that_somebody_decided_on_is_not_lost() -> None:
    silent = changed("SM3", outcome="keyword", references=(), sent=0)
    found = audit(ACCEPTED, silent, at_twilio("a", "b", "c"))
    assert (found.waiting, found.lost, found.answered, found.silent) == ((), (), 2, 1)


def test_an_answer_that_twilio_refuses_is_undelivered_and_no_silence() -> None:
    found = audit(ACCEPTED, changed("SM3", sent=0), at_twilio("a", "b", "c"))
    assert (found.undelivered, found.silent, found.lost, found.answered) == (("SM3",), 0, (), 2)


@pytest.mark.parametrize("status", ["undelivered", "failed"])
def test_an_answer_that_never_reaches_its_phone_is_undelivered(status: str) -> None:
    messages = at_twilio("a", "b", "c", "d")
    messages[2].status = status
    found = audit(ACCEPTED, RECORD, messages)
    assert (found.undelivered, found.lost, found.answered) == (("SM2",), (), 2)
    assert not found.passed


def test_no_message_at_all_is_no_proof() -> None:
    assert not all_kept(audit([], DatabaseRecord({}), []))
    assert not echo_promise([], []).kept


def test_twilios_record_alone_finds_doubles_and_losses() -> None:
    assert echo_promise(ACCEPTED, at_twilio("a", "b", "c", "d")).kept
    assert not echo_promise(ACCEPTED, at_twilio("a", "b", "c", "d", "d")).kept
    assert not echo_promise(ACCEPTED, at_twilio("a", "b", "c")).kept
