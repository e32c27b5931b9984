"""Delivery statuses are ranked so that a late one changes nothing."""

from __future__ import annotations

import pytest

from convoq.channels.base import DeliveryStatus
from convoq.channels.twilio.status import parse_status
from convoq.errors import Unrecoverable

SID = "SM" + "1a" * 16


def parse(status: str, **fields: str) -> DeliveryStatus:
    return parse_status([("MessageSid", SID), ("MessageStatus", status), *fields.items()], "ref")


def test_a_status_is_read() -> None:
    assert parse("undelivered", ErrorCode="30008") == DeliveryStatus(
        provider_id=SID, status="undelivered", rank=6, failed=True, error_code="30008", again_after=120, reference="ref"
    )


def test_ranks_rise_along_a_messages_life() -> None:
    life = ["invented", "accepted", "queued", "sending", "sent", "delivered", "failed", "read"]
    ranks = [parse(status).rank for status in life]
    assert ranks == sorted(set(ranks))


def test_a_message_that_was_read_has_not_failed() -> None:
    assert parse("read").rank > parse("failed").rank > parse("delivered").rank


def test_what_ends_a_message_ranks_alike() -> None:
    assert {parse(status).rank for status in ("failed", "undelivered", "canceled")} == {6}
    assert all(parse(status).failed for status in ("failed", "undelivered", "canceled"))
    assert not any(parse(status).failed for status in ("sent", "delivered", "read", "invented"))


def test_an_unknown_status_is_kept() -> None:
    status = parse("Teleported")
    assert (status.status, status.rank, status.failed) == ("teleported", 0, False)


@pytest.mark.parametrize(
    ("status", "code", "opted_out"),
    [("undelivered", "21610", True), ("failed", "21610", True), ("failed", "30008", False), ("sent", "21610", False)],
)
def test_a_failure_because_of_an_opt_out_is_told_apart(status: str, code: str, opted_out: bool) -> None:
    assert parse(status, ErrorCode=code).opted_out is opted_out


@pytest.mark.parametrize("code", ["", "0", " "])
def test_no_error_is_none(code: str) -> None:
    assert parse("sent", ErrorCode=code).error_code is None


def test_the_old_names_are_read() -> None:
    status = parse_status([("SmsSid", SID), ("SmsStatus", "sent")], None)
    assert (status.provider_id, status.status, status.reference) == (SID, "sent", None)


@pytest.mark.parametrize("form", [[], [("MessageSid", SID)], [("MessageStatus", "sent")]])
def test_garbage_is_unrecoverable(form: list[tuple[str, str]]) -> None:
    with pytest.raises(Unrecoverable, match="not a delivery status"):
        parse_status(form, None)


@pytest.mark.parametrize("status", ["a b", "x" * 33, "sent\n", "ñ"])
def test_a_status_is_a_word(status: str) -> None:
    with pytest.raises(Unrecoverable, match="MessageStatus"):
        parse(status)
