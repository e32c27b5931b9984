"""What no person writes is told from what people write."""

from __future__ import annotations

import pytest

from convoq.conversations.loops import REGULAR, SAME, Line, describe_loop

SECOND = 1000


def chat(texts: list[str], pauses: list[float], answers: list[str] | None = None) -> list[Line]:
    """Each text follows a reply of the AI, after so many seconds."""
    lines, at = [], 0
    for index, (text, pause) in enumerate(zip(texts, pauses, strict=True)):
        answer = answers[index] if answers else f"an answer of its own kind, {'abcdefghijk'[index]}{index}"
        lines.append(Line("out", "ai", answer, at))
        at += round(pause * SECOND)
        lines.append(Line("in", "contact", text, at))
        at += 5 * SECOND
    return lines


DIFFERENT = ["are you open?", "on Sunday too?", "how much is it", "for two", "ok", "and parking?", "great", "bye then"]
UNEVEN = [9.0, 30.0, 4.0, 61.0, 12.0, 7.0, 100.0, 20.0]


@pytest.mark.parametrize(
    "text", ["I am out of office until 3 March.", "Thank you, your ticket {} is registered", "no te entiendo, repite"]
)
def test_the_same_sentence_again_and_again_is_a_machine(text: str) -> None:
    found = describe_loop(chat([text.format(100 + index) for index in range(SAME)], UNEVEN[:SAME]))
    assert found == "nearly the same message 5 times in a row"


def test_a_word_again_and_again_is_a_person_unless_what_we_say_is_the_same_too() -> None:
    assert describe_loop(chat(["yes"] * SAME, UNEVEN[:SAME])) is None
    assert describe_loop(chat(["yes"] * SAME, UNEVEN[:SAME], ["Sorry?"] * SAME)) is not None


def test_one_that_comes_once_less_is_not_a_loop_yet() -> None:
    assert describe_loop(chat(["I am out of office until Monday"] * (SAME - 1), UNEVEN[: SAME - 1])) is None


def test_who_answers_at_once_time_after_time_is_a_machine() -> None:
    found = describe_loop(chat(DIFFERENT, [0.1, 1.9, 0.4, 1.0, 0.2, 1.2, 0.9, 0.1]))
    assert found == "8 answers in a row, each within 2 s"


def test_who_answers_by_the_clock_is_a_machine() -> None:
    found = describe_loop(chat(DIFFERENT, [30.0, 30.4, 31.0, 30.2, 30.9, 31.1, 30.0, 30.5]))
    assert found == "8 answers in a row, every 30.5 s as if by the clock"


def test_who_answers_as_people_do_is_a_person() -> None:
    assert describe_loop(chat(DIFFERENT, UNEVEN)) is None


def test_one_pause_of_a_person_s_length_makes_it_a_person() -> None:
    assert describe_loop(chat(DIFFERENT, [0.5] * (REGULAR - 1) + [20.0])) is None


def test_photos_without_words_are_not_the_same_message() -> None:
    assert describe_loop(chat([""] * SAME, UNEVEN[:SAME])) is None


def test_a_burst_counts_as_one_message() -> None:
    lines = chat(["I am out of office until Monday"], [9.0])
    burst = [lines[-1]._replace(at=lines[-1].at + index) for index in range(SAME)]
    assert describe_loop([*lines, *burst]) is None


def test_what_came_before_a_word_of_a_person_of_ours_does_not_count() -> None:
    lines = chat(["I am out of office until Monday"] * SAME, UNEVEN[:SAME])
    lines[4] = lines[4]._replace(author="operator")
    assert describe_loop(lines) is None
