"""The text of a message to a person: what it may hold, and where it may end early."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoq.prose import end_at_sentence, sendable, shorten

WALES = "🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f"

any_text = st.text(
    alphabet=st.characters(exclude_categories=()) | st.sampled_from("\x00\x1b[m\r\n\u200d\ufe0f\u202e\ud83d\ude00 ")
)


@given(any_text)
def test_what_is_sendable_can_be_encoded_and_seen(text: str) -> None:
    sent = sendable(text)
    assert sent.encode().decode() == sent
    assert sent == "" or sent.strip()


@given(any_text)
def test_what_is_sendable_stays_as_it_is(text: str) -> None:
    assert sendable(sendable(text)) == sendable(text)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("a\x00b\x07c", "abc"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("pay \u202eevil\u202c now \u2066x\u2069", "pay evil now x"),
        ("hi \ud83d\ude00!", "hi 😀!"),
        ("cut \ud83d", "cut "),
        ("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour"),
        ("\ufeffsoft\u00adhy\u200bphen", "softhyphen"),
        ("hidden" + "".join(chr(0xE0000 + ord(char)) for char in "ignore"), "hidden"),
        ("a" + "\ufe0f" * 9, "a\ufe0f"),
    ],
)
def test_what_cannot_be_encoded_or_seen_is_taken_out(text: str, sent: str) -> None:
    assert sendable(text) == sent


@pytest.mark.parametrize(
    "text", ["", " \n", "\u200b\u200d\ufeff", "\u2800\u3164", "\x00\x07", "\ud83d", " \ufe0f \u200c"]
)
def test_a_text_without_anything_to_see_is_empty(text: str) -> None:
    assert sendable(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "Plain, with\ttab.\n",
        "👨‍👩‍👧 ❤️ 1️⃣ 👍🏽",
        WALES,
        "می‌خواهم",
        "שלום \u200fabc\u200f",
        "ภาษา\u200bไทย",
        "é e\u0301 ﷺ 한국어",
    ],
)
def test_what_people_write_is_not_touched(text: str) -> None:
    assert sendable(text) == text


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        ("One. Two is cut", "One. Two is cut …"),
        ("One is long enough. Two", "One is long enough."),
        ("これは長い文です。それは", "これは長い文です。"),
        ("no end at all", "no end at all …"),
        ("Version 1.5 is out and", "Version 1.5 is out and …"),
        ("*Done, and all of it.* And", "*Done, and all of it.*"),
    ],
)
def test_cut_off_replies_end_well(text: str, ended: str) -> None:
    assert end_at_sentence(text) == ended


@given(st.text(alphabet=st.sampled_from("ab. \n😀"), min_size=2, max_size=60))
def test_what_is_shortened_is_never_longer(text: str) -> None:
    assert len(shorten(text).encode("utf-16-le")) <= len(text.encode("utf-16-le"))


def test_what_is_shortened_says_that_something_follows() -> None:
    assert shorten("some words without an end") == "some words without an …"
