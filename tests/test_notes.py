"""Notes beside a text, told from what was typed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from convoq.notes import described, notes_in

NOTES = st.lists(st.text(st.characters(exclude_characters="\n"), max_size=9), max_size=3).map(tuple)


@given(NOTES, st.text("[photo]\n ", max_size=20))
def test_notes_are_told_from_any_text(notes: tuple[str, ...], text: str) -> None:
    assert notes_in(described(notes, text), text) == notes


def test_a_person_reads_notes_in_brackets_before_the_text() -> None:
    assert described(["photo", "forwarded message"], "look") == "[photo]\n[forwarded message]\nlook"
