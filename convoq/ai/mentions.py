"""Whether a text speaks about a mark, by what stands around it on its line."""

from __future__ import annotations

import re
from typing import Final

_REACH: Final = 200  #: characters of a line that are looked at, on either side
_FAR: Final = 2_000  #: within them a mark's other half is looked for
_FEW: Final = 2  #: words between two marks that are named together: "<think> and </think>"

_PAIRS: Final = {'"': '"', "'": "'", "(": ")", "[": "]", "/": "/", "`": "`", "“": "”", "„": "“", "«": "»"}
_REGEX_GROUP: Final = re.compile(r"\(\?P?\Z")
_AFTER_WORD: Final = re.compile(r"\w \Z")
_AFTER_WORDS: Final = re.compile(r"[\w,:=] \Z")
_AFTER_COLON: Final = re.compile(r"[:=] \Z")
_PUNCTUATION: Final = re.compile(r"[.,;:!?)]")
_GOES_ON: Final = re.compile(r" [^\s<\[{A-Z]")
_NOUN: Final = re.compile(r" [A-Z]")  # "das <think> Tag"
_SENTENCE_GOES_ON: Final = re.compile(r"[.,;:!?)'\"]| [^\W\dA-Z]")
# What is said of a mark, and of little else that a thought begins with.
_TOLD_OF: Final = re.compile(
    r" (?:is (?:the|a|an|what|where|how|when)|opens|closes|ends|begins|starts|marks|means|tag|token"
    r"|ist (?:das|der|die|ein)|öffnet|schließt|beendet|beginnt|es (?:el|la)|abre|cierra|est (?:le|la)|ouvre|ferme)\b"
)
_CELL_BEFORE: Final = re.compile(r"\|[^\S\n]?\Z")
_CELL_AFTER: Final = re.compile(r"[^\S\n]?\|(?!>)")
_LINE_ENDS: Final = re.compile(r"[^\S\n]*\n")
_ENDS: Final = re.compile(r"\s*\Z")
_MORE_MARKS: Final = re.compile(r"\s*(?:[<\[][|｜/]|[{\[]|\Z)")


def is_type_name(name: str) -> bool:
    """Whether it is written as types and components are: ApiResponse. Models write marks in one case."""
    return name[:1].isupper() and not name.isupper()


def is_spoken_of(text: str, span: tuple[int, int], begins: int, *, name: str, closes: bool) -> bool:
    """Whether a mark stands amid the words of its line, behind which it begins at the earliest at `begins`. `name`:
    of a mark that has another half."""
    start, end = span
    before = text[max(begins, start - _REACH) : start].rpartition("\n")[2]
    if _TOLD_OF.match(text, end) or (_CELL_BEFORE.search(before) and _CELL_AFTER.match(text, end)):
        return True
    if not any(char.isalnum() for char in before):
        return False
    if _REGEX_GROUP.search(before):
        return True
    if pair := _PAIRS.get(before[-1]):
        return pair in text[end : end + _REACH].partition("\n")[0]
    if before[-1] == "=":
        return True
    if name and not closes:
        return _is_opening_spoken_of(text, end, before, name)
    if not _AFTER_WORDS.search(before):
        return False
    if _PUNCTUATION.match(text, end) or _GOES_ON.match(text, end) or text[start] == "[":
        return True
    if name:
        return _AFTER_COLON.search(before) is not None
    if _NOUN.match(text, end) or (_LINE_ENDS.match(text, end) and not _MORE_MARKS.match(text, end)):
        return True
    return _AFTER_COLON.search(before) is not None and _ENDS.match(text, end) is not None


def _is_opening_spoken_of(text: str, end: int, before: str, name: str) -> bool:
    if not _AFTER_WORDS.search(before):
        return False
    between, closing, after = text[end : end + _FAR].partition(f"</{name}>")
    if _LINE_ENDS.match(text, end):
        return _AFTER_COLON.search(before) is not None and not closing and not _MORE_MARKS.match(text, end)
    if not (_PUNCTUATION.match(text, end) or _GOES_ON.match(text, end)):
        follows_word = _AFTER_WORD.search(before) is not None
        is_example = closing != "" and "\n" not in between and re.match(r" [^\W\dA-Z]", after) is not None
        return follows_word and (is_example or (not closing and _NOUN.match(text, end) is not None))
    return not closing or len(between.split()) <= _FEW or _SENTENCE_GOES_ON.match(after) is not None
