"""A table for people: columns as wide as they need, the widest text shortened to fit a terminal."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

from convoq.text import harmless

GAP: Final = "  "
LEAST: Final = 8  # what a shortened column keeps


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = (), ends: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> None:  # fmt: skip
    """Prints the rows under their header; whatever the cells hold is harmless.

    Columns named in `right` are numbers. Those in `ends` hold addresses, which are told apart by their ends: they are
    shortened in the middle. Those in `whole` say nothing when they are cut (times, names to type): the others give
    first.
    """
    for line in lines(header, rows, right=right, ends=ends, whole=whole, width=terminal_width()):
        print(line)


def terminal_width() -> int | None:
    """The columns that standard output has; None when it is not a terminal, so that nothing is cut off for programs."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def lines(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = (), ends: Sequence[str] = (),
    whole: Sequence[str] = (), width: int | None = None,
) -> Iterator[str]:  # fmt: skip
    """The table's lines, none wider than `width` where that is possible."""
    cells = [tuple(header), *(tuple(harmless(cell) for cell in row) for row in rows)]
    widths = [max(map(cell_width, column)) for column in zip(*cells, strict=True)]
    if width is not None:
        room = width - len(GAP) * (len(widths) - 1)
        _shrink(widths, room, [name in right or name in whole for name in header])
        _shrink(widths, room, [name in right for name in header])
    for row in cells:
        shortened = (
            shorten_middle(cell, wide) if name in ends else shorten(cell, wide)
            for cell, wide, name in zip(row, widths, header, strict=True)
        )
        padded = (
            _pad(cell, wide, right=name in right) for cell, wide, name in zip(shortened, widths, header, strict=True)
        )
        yield GAP.join(padded).rstrip()


def _shrink(widths: list[int], room: int, fixed: Sequence[bool]) -> None:
    """Takes from the widest text column until all fit."""
    while sum(widths) > room:
        texts = [index for index, number in enumerate(fixed) if not number and widths[index] > LEAST]
        if not texts:
            return
        widest = max(texts, key=lambda index: widths[index])
        others = max((widths[index] for index in texts if index != widest), default=LEAST)
        excess = sum(widths) - room
        widths[widest] -= max(1, min(excess, widths[widest] - max(others, LEAST)))


def _pad(cell: str, wide: int, *, right: bool) -> str:
    blank = " " * (wide - cell_width(cell))
    return blank + cell if right else cell + blank


def shorten(text: str, wide: int) -> str:
    """The text in at most `wide` columns; what is cut off is shown as an ellipsis."""
    if cell_width(text) <= wide:
        return text
    kept, used = [], 0
    for char in text:
        used += _char_width(char)
        if used > wide - 1:
            break
        kept.append(char)
    return "".join(kept) + "…"


def shorten_middle(text: str, wide: int) -> str:
    """The text in at most `wide` columns, its end kept rather than its beginning."""
    if cell_width(text) <= wide:
        return text
    head = shorten(text, max(1, wide // 3 + 1))
    kept, room = [], wide - cell_width(head)
    for char in reversed(text):
        room -= _char_width(char)
        if room < 0:
            break
        kept.append(char)
    return head + "".join(reversed(kept))


def cell_width(text: str) -> int:
    """The columns that a text takes."""
    return len(text) if text.isascii() else sum(map(_char_width, text))


def _char_width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
