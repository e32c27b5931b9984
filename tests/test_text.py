"""Whatever a person wrote, the terminal only shows it; and times, sizes and tables read well."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoq import text as text_module
from convoq.cli.terminal.table import cell_width, lines, shorten
from convoq.text import age, counted, harmless, iso_time, local_time, mask_address, masked, printable, size, without_ids

CONTROLS = [chr(code) for code in [*range(0x20), *range(0x7F, 0xA0)]]
BIDI = list("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
OTHERS = list("\u2028\u2029\u00ad\ufeff\ufff9\U000e0041\U000e0001\ud800\udfff\ue000\uffff\u180e\u2060")
ATTACKS = [
    "\x1b[2J\x1b[H", "\x1b]0;title\x07", "\x1b]52;c;cm0gLXJm\x07", "\x9b31m", "\x1bP+q\x1b\\", "a\rb", "a\bb",
    "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\", "\u202egnp.exe", "x\x00y", "line\nconvoq: fake",
]  # fmt: skip


@pytest.mark.parametrize("char", [*CONTROLS, *BIDI, *OTHERS], ids=lambda char: f"U+{ord(char):04X}")
def test_what_steers_a_terminal_is_shown_escaped(char: str) -> None:
    shown = harmless(f"a{char}b")

    assert char not in shown
    assert shown.startswith("a\\")
    assert shown.endswith("b")
    assert shown.isascii()


@pytest.mark.parametrize("attack", ATTACKS, ids=ascii)
def test_an_attack_becomes_one_printable_line(attack: str) -> None:
    assert harmless(attack).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "¿Cuánto cuesta?",
        "日本語",
        "שלום",
        "👩\u200d👩\u200d👧",
        "क्\u200dष",
        "1\u00a0000 €",
        "e\u0301",
        "☺️",
        "tab-less \\n",
    ],
)
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text


@given(st.text())
def test_nothing_that_is_left_is_a_control(text: str) -> None:
    shown = harmless(text)

    assert not any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in shown)
    assert harmless(shown) == shown


@given(st.text())
def test_printable_text_is_printable(text: str) -> None:
    assert printable(text).isprintable()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0, "0 s"), (0.04, "0.0 s"), (3, "3 s"), (3.21, "3.2 s"), (59.9, "60 s"), (60, "1 min"),
     (3599, "59 min"), (3600, "1 h"), (86_399, "23 h"), (86_400, "1 d"), (10**9, "11574 d")],
)  # fmt: skip
def test_an_age_is_said_in_one_unit(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_sizes_counts_and_times_read_well() -> None:
    assert [size(count) for count in (0, 999, 1000, 1_234_567, 5_000_000_000, 10**13)] == [
        *("0 B", "999 B", "1.0 kB", "1.2 MB", "5.0 GB", "10.0 TB"),
    ]
    assert counted(1, "job") == "1 job"
    assert counted(0, "job") == "0 jobs"
    assert iso_time(1_760_000_000_123) == "2025-10-09T08:53:20.123Z"
    assert iso_time(None) is None


def test_addresses_in_a_text_are_masked() -> None:
    shown = masked("twilio|whatsapp:+14155238886|whatsapp:+34600000001 said hi")

    assert "238886" not in shown
    assert "00000001" not in shown
    assert shown.endswith("said hi")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("whatsapp:+15551230001", "whatsapp:+1555***0001"),
        ("+15551230001", "+1555***0001"),
        ("+4915123456", "+491***3456"),
        ("+1234567", "+***4567"),
        ("12345", "***45"),
        ("messenger:1234567890", "messenger:123***7890"),
        ("whatsapp:US.13491208655302741918", "whatsapp:US.13***1918"),
        ("whatsapp:", "whatsapp:***"),
        ("", "***"),
        ("x", "***"),
    ],
)
def test_the_middle_of_an_address_is_hidden(address: str, shown: str) -> None:
    assert mask_address(address) == shown


@given(st.text(alphabet="+0123456789", max_size=16))
def test_a_masked_address_shows_little(address: str) -> None:
    shown = mask_address(address).replace("***", "")
    assert len(shown) <= max(9, len(address) // 2)
    assert not address or len(shown) < len(address)


# What the patterns are made of, and what folds to it: U+017F is an s, U+212A a k, U+0130 and U+0131 an i.
PIECES = (
    *(
        "whatsapp",
        "WhatſApp",
        "sms",
        "ſmS",
        "rcs",
        "tel",
        "messenger",
        "ınstagram",
        "\u0130nstagram",
        ":",
        "%3A",
        "%3a",
    ),
    *(
        "+",
        "%2B",
        "%2b",
        "1",
        "5551230001",
        "\u0665",
        "(555) ",
        "-",
        ".",
        "bearer",
        "Bearer",
        "basic",
        "BASIC",
        "baſic",
    ),
    *("sk-", "SK-", "ſ\u212a-", "\u212a", " ", "\t", "\u00a0", "\u2028", "\x1c", "abcdef", "|", "_", "\n"),
)


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join) | st.text())
def test_what_is_looked_for_first_misses_nothing_that_is_to_be_masked(text: str) -> None:
    without_addresses = text_module._ADDRESSES.sub(lambda match: mask_address(match[0]), text)
    assert masked(text) == text_module._CREDENTIALS.sub("***", without_addresses)


@pytest.mark.parametrize("start", ["ſ\u212a-", "BEARER\u00a0", "baſic\x1c", "x\u2028SK-"])
def test_credentials_are_masked_in_every_case_and_after_every_space(start: str) -> None:
    assert "abcdef123" not in masked(f"{start}abcdef123")


def test_a_table_fits_by_shortening_its_widest_text() -> None:
    rows = [("1", "short", "x" * 300), ("2", "other", "y" * 50)]

    table = list(lines(("ID", "KIND", "TEXT"), rows, right=("ID",), width=60))

    assert max(map(cell_width, table)) == 60
    assert table[1].startswith(" 1  short  xxx")
    assert table[1].endswith("…")


def test_a_table_without_a_width_cuts_nothing_off() -> None:
    assert "x" * 300 in list(lines(("TEXT",), [("x" * 300,)]))[1]


def test_a_cell_cannot_break_its_line() -> None:
    table = list(lines(("A", "B"), [("one\n2  fake", "\x1b[31m")]))

    assert table == ["A             B", "one\\n2  fake  \\x1b[31m"]


@given(st.text(max_size=60), st.integers(1, 40))
def test_a_shortened_text_never_takes_more_room(text: str, wide: int) -> None:
    assert cell_width(shorten(harmless(text), wide)) <= wide


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), max_size=5), st.integers(20, 60))
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, str]], width: int) -> None:
    assert all(cell_width(line) <= width for line in lines(("ONE", "TWO"), rows, width=width))


def test_a_local_time_says_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        assert local_time(1_795_633_175_000) == "2026-11-25 19:59:35 CET"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HTTP 400: bad (request req_011CSHoEeq)", "HTTP 400: bad (request req_7hR2pXw1aK)"),
        ("bad [0b5e4e0e-8c0f-4b7e-9a39-2f0c9a1d7e55]", "bad [c4d2a1b0-1111-4222-8333-944445555666]"),
        ("bad, 7 tries left at 2026-11-27T07:30:00.123Z", "bad, 16 tries left at 2026-12-01T00:00:09.000Z"),
        ("bad: trace QmFzZTY0IHRoYXQg/bG9uZw==", "bad: trace Y291bnRlciBhbmQg/c2Vjb25k"),
        (f"9 of {'a word ' * 30}…); check it", f"10 of {'a word ' * 29}a w…); check it"),
        ("bad (request id: kqzxvbwm)", "bad (request id: aeiounty)"),
        ("bad, request_id=AbCdEfGh", "bad, request_id=hgfedcba"),
        ("bad; quote the Trace-ID pqrstuvw to us", "bad; quote the Trace-ID wvutsrqp to us"),
        ("bad (request req_kqzxvbwm)", "bad (request req_plmoknij)"),
        ("bad (request id: -b_8kqzxvbwm)", "bad (request id: kqzxvb-_9wm)"),
        ("bad [kqzxvbwm]", "bad [plmoknij]"),
        ("bad, see aKdQzWvB there", "bad, see QwErTyUi there"),
        ("messages.3.content: is empty", "messages.17.content: is empty"),
        ("messages[3]: a tool result is missing", "messages[40]: a tool result is missing"),
    ],
)
def test_ids_counts_moments_and_positions_make_no_other_sentence(one: str, other: str) -> None:
    assert without_ids(one) == without_ids(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HTTP 400: temperature 7", "HTTP 400: top_p 7"),
        ("messages.3.role: unknown", "messages.3.content: unknown"),
        ("Unsupported value: maxTokens", "Unsupported value: stopSequences"),
        ("BadRequestError: no such option", "InternalServerError: no such option"),
        ("model_not_found", "context_length_exceeded"),
        ("unsupported_parameter: temperature", "unsupported_parameter: parallel_tool_calls"),
        ("OpenAI says no", "Mistral says no"),
        ("the region is closed", "the account is closed"),
    ],
)
def test_other_words_make_another_sentence(one: str, other: str) -> None:
    assert without_ids(one) != without_ids(other)
