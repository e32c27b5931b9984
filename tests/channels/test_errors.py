"""Codes and statuses decide what happens to a message."""

from __future__ import annotations

import pytest

from convoq.channels.base import Failure
from convoq.channels.twilio.errors import CODES, Refused, hint, meaning, retry_after, send_failed

NOW = 1_760_000_000_000  # Thu, 09 Oct 2025 08:53:20 GMT


@pytest.mark.parametrize(
    ("status", "code", "failure"),
    [
        (429, 20429, Failure.NOT_SENT),
        (429, None, Failure.NOT_SENT),
        (429, 63018, Failure.NOT_SENT),
        (400, 21611, Failure.WAIT),
        (400, 21610, Failure.OPTED_OUT),
        (400, 21211, Failure.PERMANENT),
        (400, 21617, Failure.PERMANENT),
        (400, 63016, Failure.PERMANENT),
        (400, 99999, Failure.PERMANENT),
        (400, None, Failure.PERMANENT),
        (422, None, Failure.PERMANENT),
        (401, 20003, Failure.ACCOUNT),
        (401, None, Failure.ACCOUNT),
        (403, 12345, Failure.ACCOUNT),
        (404, 20404, Failure.ACCOUNT),
        (408, None, Failure.AMBIGUOUS),
        (408, 21211, Failure.AMBIGUOUS),
        (500, 20500, Failure.AMBIGUOUS),
        (500, 21211, Failure.AMBIGUOUS),
        (503, None, Failure.AMBIGUOUS),
        (599, 12345, Failure.AMBIGUOUS),
    ],
)
def test_a_refusal_has_a_meaning(status: int, code: int | None, failure: Failure) -> None:
    assert send_failed(Refused(status, code, "words", None), now=NOW).failure is failure


def test_a_refusal_keeps_code_and_words() -> None:
    failed = send_failed(Refused(400, 21211, "words", None), now=NOW)
    assert (failed.code, str(failed)) == ("21211", "words (21211)")
    assert send_failed(Refused(502, None, "words", None), now=NOW).code == "502"


def test_the_wait_that_twilio_asks_for_wins() -> None:
    assert send_failed(Refused(400, 21611, "x", None), now=NOW).delay == 60
    assert send_failed(Refused(400, 21611, "x", "7"), now=NOW).delay == 7
    assert send_failed(Refused(429, 20429, "x", None), now=NOW).delay is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("99999999", 3600.0),
        ("Thu, 09 Oct 2025 08:53:50 GMT", 30.0),
        ("Thu, 09 Oct 2025 08:53:50 -0000", 30.0),
        ("Thu, 09 Oct 2025 08:00:00 GMT", 0.0),
        ("", None),
        (None, None),
        ("soon", None),
        ("-5", None),
        ("²", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, now=NOW) == seconds


def test_every_code_has_a_sentence() -> None:
    assert all(known.hint[-1] in ".?" and len(known.hint) < 140 for known in CODES.values())


def test_hints_know_what_to_do_with_the_unknown() -> None:
    assert "24 hours" in hint("63016")
    assert hint(99999) == "See https://www.twilio.com/docs/api/errors/99999"
    assert meaning("what") is None
    assert meaning(None) is None
