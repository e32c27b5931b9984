"""Splits a long text into messages that Twilio accepts, at the places where a person would."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from convoq.prose import shorten

LIMIT: Final = 1600  #: UTF-16 units that one message may have

_FENCE: Final = "```"
_OPENING: Final = "```\n"
_LEAST_FENCED: Final = 10 * len(_OPENING)  # a limit below which fences would leave no room for the text

# From the best place to cut to the worst: after a blank line, a line, a sentence, a word.
_CUTS: Final = (
    re.compile(r"\n[^\S\n]*\n\s*"),
    re.compile(r"\n\s*"),
    re.compile(r"[.!?…][\"'”’»)\]*_]*\s+|[。！？]+[」』）]*"),
    re.compile(r"\s+"),
)
_URL: Final = re.compile(r"(?:https?://|www\.)[^\s<>\"。！？]+", re.IGNORECASE)
_WINDOW: Final = 3  # parts' worth of text that a cut looks at, so that a long text takes linear time
_FULL_ENOUGH: Final = 0.4  # a better place is not worth a part that is emptier than this


def split(text: str, limit: int = LIMIT, *, most: int | None = None) -> list[str]:
    """Parts of at most `limit` UTF-16 units; joined they are the text, but for fences that each part closes for itself.

    Every part has something to see, because Twilio refuses one that has not: a blank text has no parts, and of white
    space longer than a whole part only what fits beside words is kept. A grapheme or a URL is cut only when it does
    not fit into one part. Of a text that takes more than `most` parts, so many are left, the last shortened to whole
    sentences.
    """
    if limit < 2:
        raise ValueError("a part needs room for at least one character: limit must be 2 or more")
    if _units(text) <= limit:
        return [text] if text.strip() else []
    # Room for the two fences that a part may need besides its own.
    fenced = _FENCE in text and limit >= _LEAST_FENCED
    parts = _pieces(text, limit - 2 * len(_OPENING) if fenced else limit)
    if most is not None and len(parts) > most:
        parts = [*parts[: most - 1], shorten(parts[most - 1])]
    return list(_closed_fences(parts)) if fenced and len(parts) > 1 else parts


def _pieces(text: str, limit: int) -> list[str]:
    parts = []
    rest = text
    while len(rest) > limit or _units(rest) > limit:
        cut = _cut(rest[: _WINDOW * limit], limit)
        parts.append(rest[:cut])
        rest = rest[cut:]
    parts.append(rest)
    return [part for part in parts if part.strip()]


def _closed_fences(parts: list[str]) -> Iterator[str]:
    """A fence that is open where a part ends is closed there, and opened again in the next."""
    is_open = False
    for part in parts:
        whole = _OPENING + part.lstrip("\n") if is_open else part
        is_open = whole.count(_FENCE) % 2 == 1
        yield f"{whole.rstrip()}\n{_FENCE}" if is_open else whole


def _cut(text: str, limit: int) -> int:
    """Where the first part of a text that is too long ends."""
    fits = _boundaries(text, limit)
    if not fits:
        return _code_points(text, limit)
    places = _with_something_on_both_sides(text, fits)
    return _natural(text, places) or _outside_urls(text, places, limit) or places[-1]


def _boundaries(text: str, limit: int) -> list[int]:
    """The ends of graphemes up to which a part may reach, ascending."""
    import regex  # type: ignore[import-untyped]  # ships no types; imported late because only long texts need it

    fits: list[int] = []
    used = 0
    for grapheme in regex.finditer(r"\X", text):
        used += _units(grapheme.group())
        if used > limit:
            break
        fits.append(grapheme.end())
    return fits


def _with_something_on_both_sides(text: str, fits: list[int]) -> list[int]:
    first_visible = len(text) - len(text.lstrip())
    after_last_visible = len(text.rstrip())
    places = fits[bisect_right(fits, first_visible) : bisect_left(fits, after_last_visible)]
    return places or fits


def _natural(text: str, places: list[int]) -> int | None:
    """The last cut of the best kind that leaves the part reasonably full; a cut between words may be anywhere."""
    allowed = set(places)
    for pattern in _CUTS:
        least = 0 if pattern is _CUTS[-1] else places[-1] * _FULL_ENOUGH
        cuts = [cut for cut in _ends(pattern, text, places[-1]) if cut in allowed]
        if cuts and cuts[-1] >= least:
            return cuts[-1]
    return None


def _ends(pattern: re.Pattern[str], text: str, last: int) -> Iterator[int]:
    """Where the matches end; one that runs over the last place counts up to it, its white space goes to both parts."""
    for match in pattern.finditer(text):
        if match.start() >= last:
            return
        if match.end() <= last or text[last : match.end()].isspace():
            yield min(match.end(), last)


def _outside_urls(text: str, places: list[int], limit: int) -> int | None:
    """The last place that is not inside a URL; one that does not fit into a part has to be cut anyway."""
    urls = [match.span() for match in _URL.finditer(text) if _units(match.group()) <= limit]
    return next((cut for cut in reversed(places) if not any(start < cut < end for start, end in urls)), None)


def _code_points(text: str, limit: int) -> int:
    """A single grapheme that is too long (marks upon marks) is cut between its code points."""
    return bisect_right(list(accumulate(map(_units, text[: limit + 1]))), limit)


def _units(text: str) -> int:
    """Its length as phone networks count it: characters beyond the basic plane count twice."""
    return len(text) + sum(char > "\uffff" for char in text)
