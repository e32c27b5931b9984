"""Whatever a person wrote, the terminal only shows it; and times, sizes and tables read well."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoq.cli.terminal.table import cell_width, lines, shorten
from convoq.text import age, counted, harmless, iso_time, masked, size

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
