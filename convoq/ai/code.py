"""Where code stands in a text of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_SPAN: Final = re.compile(r"(?<!`)(`{1,2})(?!`)[^\n]{1,200}?(?<!`)\1(?!`)")
_FENCE: Final = re.compile(r"[^\S\n]*(?:>[^\S\n]*)?(`{3,}|~{3,})(.*)")


def code_spans(text: str) -> Iterator[tuple[int, int]]:
    """Where code stands: closed fences and spans on one line, by start and end, ascending."""
    at = 0
    for start, end in _fences(text):
        yield from (match.span() for match in _SPAN.finditer(text, at, start))
        yield start, end
        at = end
    yield from (match.span() for match in _SPAN.finditer(text, at))


def _fences(text: str) -> Iterator[tuple[int, int]]:
    if "```" not in text and "~~~" not in text:
        return
    opened: tuple[int, str] | None = None
    at = 0
    for line in text.splitlines(keepends=True):
        if match := _FENCE.match(line):
            if opened is None:
                opened = (at, match[1])
            elif match[1].startswith(opened[1]) and not match[2].strip():
                yield opened[0], at + len(line)
                opened = None
        at += len(line)
