"""A long text becomes messages without losing or breaking anything."""

from __future__ import annotations

import re

import pytest
import regex  # type: ignore[import-untyped]  # ships no types
from hypothesis import given
from hypothesis import strategies as st

from convoq.channels.twilio.split import split

FAMILY = "👨‍👩‍👧‍👦"
URL = "https://example.com/a?b=c&d=e"

atoms = st.sampled_from(
    [
        "a",
        "word",
        "Hello.",
        " ",
        " ",
        "  ",
        "\n",
        "\n\n",
        "\r\n",
        "é",
        "e\u0301",
        FAMILY,
        "🇪🇸",
        "👍🏽",
        "。",
        "中文",
        URL,
        "`",
        "\u200d",
    ]
)
texts = st.lists(atoms, max_size=120).map("".join)
limits = st.integers(min_value=40, max_value=90)


def units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def cuts(parts: list[str]) -> list[int]:
    places = [0]
    for part in parts:
        places.append(places[-1] + len(part))
    return places[1:-1]


@given(text=texts, limit=limits)
def test_parts_join_to_the_text(text: str, limit: int) -> None:
    parts = split(text, limit)
    joined = "".join(parts)
    assert re.sub(r"\s+|```", "", joined) == re.sub(r"\s+|```", "", text)
    if text.strip() and "```" not in text and not re.search(rf"\s{{{limit // 2},}}", text):
        assert joined == text


@given(text=texts | st.text(max_size=200), limit=limits)
def test_every_part_fits_and_has_something_to_see(text: str, limit: int) -> None:
    for part in split(text, limit):
        assert units(part) <= limit
        assert part.strip()


@given(text=texts, limit=limits)
def test_no_grapheme_is_broken(text: str, limit: int) -> None:
    ends = {match.end() for match in regex.finditer(r"\X", text)}
    parts = split(text, limit)
    if "".join(parts) == text:
        assert set(cuts(parts)) <= ends


@given(text=texts, limit=limits)
def test_no_url_is_broken(text: str, limit: int) -> None:
    for match in re.finditer(re.escape(URL), text):
        whole = re.match(r"[^\s。]*", text[match.start() :])
        if whole and units(whole.group()) < limit // 2:
            assert any(URL in part for part in split(text, limit))
            break


@given(st.text(alphabet=st.characters(), max_size=60), st.integers(min_value=2, max_value=7))
def test_any_limit_is_kept(text: str, limit: int) -> None:
    parts = split(text, limit)
    assert all(units(part) <= limit for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


@pytest.mark.parametrize(("length", "count"), [(1, 1), (1600, 1), (1601, 2), (3200, 2), (3201, 3)])
def test_parts_are_counted_in_units(length: int, count: int) -> None:
    assert len(split("x" * length)) == count


def test_an_emoji_counts_twice() -> None:
    assert [units(part) for part in split("🙂" * 801)] == [1600, 2]


@pytest.mark.parametrize("text", ["", " ", "\n" * 5000])
def test_a_blank_text_has_no_parts(text: str) -> None:
    assert split(text) == []


def test_paragraphs_come_first() -> None:
    first, second = "One sentence. Another one here." * 2, "The second paragraph. " * 3
    assert split(f"{first}\n\n{second}", 100) == [f"{first}\n\n", second]


def test_sentences_come_before_words() -> None:
    assert split("First sentence is here. Second sentence goes on and on", 40) == [
        "First sentence is here. ",
        "Second sentence goes on and on",
    ]


def test_a_better_place_far_from_the_end_is_not_worth_it() -> None:
    assert split("Hi. " + "word " * 20, 50)[0] == "Hi. " + "word " * 9


def test_words_stay_whole() -> None:
    assert split("alpha beta gamma", 11) == ["alpha beta ", "gamma"]


def test_white_space_at_the_end_takes_its_word_along() -> None:
    parts = split("alpha beta" + "\n" * 3, 12)
    assert parts == ["alpha ", "beta\n\n\n"]


def test_white_space_beyond_a_part_is_left_out() -> None:
    parts = split("a" + " " * 100 + "b", 10)
    assert [part.strip() for part in parts] == ["a", "b"]


def test_a_url_that_fits_stays_whole() -> None:
    assert split("See (" + URL + ")", 32) == ["See ", f"({URL})"]
    assert split("中" * 30 + URL, 40) == ["中" * 30, URL]


def test_a_url_that_does_not_fit_is_cut() -> None:
    url = "https://example.com/" + "a" * 100
    parts = split(url, 40)
    assert "".join(parts) == url
    assert len(parts) == 3


def test_marks_upon_marks_are_cut_between_code_points() -> None:
    text = "e" + "\u0301" * 50
    parts = split(text, 10)
    assert "".join(parts) == text
    assert max(map(units, parts)) <= 10


def test_a_long_text_takes_linear_time() -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 5000
    parts = split(text)
    assert "".join(parts) == text
    assert len(parts) < 160


def test_a_limit_has_room_for_a_character() -> None:
    with pytest.raises(ValueError, match="2 or more"):
        split("x", 1)


def test_a_fence_is_closed_in_each_part() -> None:
    text = "Run this:\n```\n" + "echo one\n" * 12 + "```\nThat is all. " + "More words. " * 5
    parts = split(text, 80)
    assert len(parts) > 2
    assert all(part.count("```") % 2 == 0 for part in parts)
    assert all(units(part) <= 80 for part in parts)
    assert "".join(parts).count("echo one") == 12


@given(
    text=st.lists(st.sampled_from(["```\n", "```", "code\n", "word. ", "😀"]), max_size=80).map("".join), limit=limits
)
def test_fences_are_closed_within_the_limit(text: str, limit: int) -> None:
    parts = split(text, limit)
    assert all(units(part) <= limit for part in parts)
    if len(parts) > 1:
        assert all(part.count("```") % 2 == 0 for part in parts)


@given(
    text=st.lists(st.sampled_from(["```\n", "```", "code\n", "word. ", "😀"]), max_size=80).map("".join) | texts,
    limit=limits,
    most=st.none() | st.integers(min_value=1, max_value=4),
)
def test_what_was_split_is_not_split_again(text: str, limit: int, most: int | None) -> None:
    assert [split(part, limit) for part in split(text, limit, most=most)] == [
        [part] for part in split(text, limit, most=most)
    ]


@given(text=texts, limit=limits, most=st.integers(min_value=1, max_value=3))
def test_no_more_parts_than_asked_for(text: str, limit: int, most: int) -> None:
    parts = split(text, limit, most=most)
    assert len(parts) <= most
    assert all(units(part) <= limit and part.strip() for part in parts)


def test_a_text_that_is_too_long_ends_with_a_sentence() -> None:
    parts = split("One sentence of a long story. " * 300, 100, most=4)
    assert len(parts) == 4
    assert parts[-1].endswith("story.")


def test_a_text_without_a_sentence_ends_with_an_ellipsis() -> None:
    assert split("word " * 300, 100, most=1)[0].endswith("word …")


def test_code_that_is_too_long_is_closed() -> None:
    parts = split("```\n" + "echo one\n" * 100 + "```", 100, most=2)
    assert [part.count("```") for part in parts] == [2, 2]
    assert parts[-1].endswith("…\n```")


def test_what_fits_is_not_shortened() -> None:
    assert split("Just. Right", most=1) == ["Just. Right"]
