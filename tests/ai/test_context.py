"""The window: newest lines first, what is to be answered always whole, about as many tokens as allowed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from convoq.ai.base import Author, ContextLine
from convoq.ai.context import CUT_MARK, estimate_tokens, line_tokens, pick_lines, shorten
from tests.ai.conftest import said

lines_strategy = st.lists(
    st.builds(ContextLine, author=st.sampled_from(Author), text=st.text(max_size=200), at=st.just(0)), max_size=30
)


def test_everything_is_shown_when_it_fits() -> None:
    window = pick_lines(said("a", (Author.AI, "b"), "c", "d"), 4000)
    assert [line.text for line in window.history] == ["a", "b"]
    assert [line.text for line in window.pending] == ["c", "d"]
    assert window.dropped == 0


def test_oldest_lines_go_first_and_leave_no_gap() -> None:
    lines = said("old " * 20, (Author.AI, "large " * 30), "new", (Author.AI, "newer"), "now?")
    window = pick_lines(lines, 40)
    assert [line.text for line in window.history] == ["new", "newer"]
    assert window.dropped == 2


def test_what_is_to_be_answered_is_whole_beyond_the_budget() -> None:
    burst = [f"message number {n} of a long burst" for n in range(50)]
    window = pick_lines(said("before", (Author.AI, "reply"), *burst), 100)
    assert [line.text for line in window.pending] == burst
    assert window.history == ()


def test_one_oversized_message_is_cut_in_its_middle() -> None:
    window = pick_lines(said("begin " + "x" * 100_000 + " what does it cost?"), 1000)
    (line,) = window.pending
    assert line.text.startswith("begin")
    assert line.text.endswith("what does it cost?")
    assert CUT_MARK in line.text
    assert estimate_tokens(line.text) <= 520


def test_a_reply_of_an_operator_ends_what_is_to_be_answered() -> None:
    window = pick_lines(said("a", (Author.OPERATOR, "b"), (Author.SYSTEM, "handed back"), "c"), 4000)
    assert [line.text for line in window.pending] == ["handed back", "c"]


def test_other_scripts_weigh_more_than_english() -> None:
    assert estimate_tokens("a" * 400) == 100
    assert estimate_tokens("я" * 400) == 200
    assert estimate_tokens("語" * 400) == 400
    assert estimate_tokens("🙂" * 10) == 20
    assert estimate_tokens("") == 0


@given(lines_strategy, st.integers(min_value=100, max_value=5000))
def test_window_is_a_tail_of_the_conversation(lines: list[ContextLine], budget: int) -> None:
    window = pick_lines(lines, budget)
    assert window.dropped + len(window.history) + len(window.pending) == len(lines)
    shown = [*window.history, *window.pending]
    assert [line.author for line in shown] == [line.author for line in lines[window.dropped :]]
    if window.history:
        assert sum(map(line_tokens, shown)) <= budget


@given(st.text(min_size=1, max_size=3000), st.integers(min_value=10, max_value=200))
def test_a_shortened_message_keeps_its_beginning_and_end(text: str, limit: int) -> None:
    line = ContextLine(author=Author.CONTACT, text=text, at=0)
    short = shorten(line, limit).text
    if estimate_tokens(text) <= limit:
        assert short == text
    else:
        head, mark, tail = short.partition(CUT_MARK)
        assert mark
        assert text.startswith(head)
        assert text.endswith(tail)
        assert len(head) + len(tail) < len(text)
