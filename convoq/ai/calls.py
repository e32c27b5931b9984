"""Calls of tools that a model has written as text: JSON, code of Python's shape, the lines of ReAct."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from operator import itemgetter
from typing import Any, Final

from convoq.ai.marks import code_spans

#: A text without any of these holds no call.
HINTS: Final = ("{", "```", "Thought", "Action", "default_api.", "functions.", "[")
MOST_BROKEN: Final = 20  #: beginnings of JSON that are read in vain; each may take as long as the text

_LABEL: Final = r"^[*_#>\s]{0,4}"
# The oldest way to call tools: what is thought and done ends with "Final Answer:", or in the middle.
_THOUGHT: Final = r"\A\s*(?:[*_#]{0,3}Question[*_]{0,3}:[^\n]*\s+)?[*_#\s]{0,4}Thought"
_REACT: Final = re.compile(
    rf"\A[\s\S]*^Action Input:[\s\S]*?(?:{_LABEL}Final Answer:|\Z)"
    rf"|{_THOUGHT}s?[*_]{{0,3}}:[\s\S]*?{_LABEL}Final (?:Answer|Response|Reply)[*_]{{0,3}}:[*_]{{0,3}}"
    r"|\A\s*\*\*Thought:\*\*[\s\S]*?^\*\*Answer:\*\*"
    # Cut off; a person's own thought speaks of neither.
    rf"|{_THOUGHT}[*_]{{0,3}}:[\s\S]*?{_LABEL}Action[*_]{{0,3}}:[\s\S]*"
    rf"|{_THOUGHT}[*_]{{0,3}}:[*_\s]{{0,4}}"
    r"(?:[Tt]hey|[Tt]he (?:user|customer|person|client|guest)|I (?:need|should|must))\b[\s\S]*"
    r"|\A\s*Action:\s*```[\s\S]*",
    re.MULTILINE,
)
_WHOLE_FENCE: Final = re.compile(r"\A\s*```(\w*)[^\S\n]*\n((?:(?!```)[\s\S])*)\n?```\s*\Z")
_LAST_FENCE: Final = re.compile(r"(?<=\n)[^\S\n]*```(\w*)[^\S\n]*\n((?:(?!```)[\s\S])*)(?:```\s*)?\Z")
_TOOL_FENCE: Final = re.compile(r"^```(?:tool|function)_\w+[^\S\n]*\n(?:(?!```)[\s\S])*(?:```|\Z)", re.MULTILINE)
_IN_CODE: Final = frozenset({"", "json", "python", "py", "tool", "plaintext", "text"})
# print(default_api.hours(day="Monday")), functions.hours({}), [hours(day="Monday")]
_PYTHON: Final = re.compile(
    r"^[^\S\n]*(?:print\()?(?:default_api|functions)\.\w{1,60}\([^\n]*\)[^\S\n]*;?[^\S\n]*$"
    r"|\A\s*(?:functools)?\[(?:\w{1,60}\((?:\w{1,60}=[^\n()]{0,2000})?\)(?:,\s*)?)+\]\s*\Z",
    re.MULTILINE,
)
_JSON: Final = re.compile(
    r'(?:(?<=^)|(?<=\n)|(?<=[.!?:…] ))[^\S\n]*(?:functools)?\[?\s{0,20}\{\s{0,20}"\w{1,30}"\s{0,20}:'
)
_NAME: Final = re.compile(r"(?:tool|function|func|recipient|action|plugin|api)(?:_?name)?|name")
_TOOL_NAME: Final = re.compile(r"(?:tool|function)(?:_?name)?")
_ARGUMENTS: Final = re.compile(
    r"(?:(?:tool|function|func|action|call)_)?(?:arguments|parameters|args|params|kwargs|inputs?)"
)
_CALLS: Final = re.compile(r"(?:tool|function)_(?:calls?|uses?)")
_CUT: Final = re.compile(
    r'\s*(?:functools)?\[?\s*\{[^{}]{0,200}"(?:(?:tool|function|action)_)?(?:arguments|parameters|action_input|tool_input|args)"\s*:'
)


def without_calls(text: str) -> str:
    """Without what calls a tool, where it stands by itself: in a line of its own, after a sentence, or as code at the
    end that no words introduce."""
    text = _TOOL_FENCE.sub("", _REACT.sub("", text))
    if (whole := _WHOLE_FENCE.match(text)) and _is_call_in(whole[1], whole[2]):
        return ""
    if (last := _LAST_FENCE.search(text)) and _is_call_in(last[1], last[2]):
        before = text[: last.start()].rstrip()
        text = text if before.endswith(":") else before
    code = list(code_spans(text))
    return "".join(_around(text, [*_python_calls(text, code), *_json_calls(text, code)]))


def _around(text: str, calls: list[tuple[int, int]]) -> Iterator[str]:
    at = 0
    for start, end in sorted(calls):
        yield text[at : max(at, start)]
        at = max(at, end)
    yield text[at:]


def _python_calls(text: str, code: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for match in _PYTHON.finditer(text):
        if not _is_in(match.start(), code):
            yield match.span()


def _json_calls(text: str, code: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    at = broken = 0
    for match in _JSON.finditer(text):
        if match.start() < at or _is_in(match.start(), code):
            continue
        value, end = _json_at(text, match.start())
        broken += value is None
        if broken > MOST_BROKEN:
            return
        is_cut = value is None and _CUT.match(text, match.start()) is not None
        if is_cut or _is_call(value) or _is_last_name(text, match.start(), value, end):
            yield match.start(), end
            at = end


def _is_last_name(text: str, start: int, value: Any, end: int) -> bool:
    """Whether nothing but a tool's name stands in JSON at the end, which no words introduce."""
    is_name = isinstance(value, dict) and len(value) == 1 and _TOOL_NAME.fullmatch(next(iter(value))) is not None
    before = text[:start].rstrip()
    return is_name and before != "" and not before.endswith(":") and not text[end:].strip()


def _is_in(at: int, code: list[tuple[int, int]]) -> bool:
    span = bisect_right(code, at, key=itemgetter(0)) - 1
    return span >= 0 and at < code[span][1]


def _json_at(text: str, start: int) -> tuple[Any, int]:
    """What the JSON there says, and where it ends: with the text, and as None, where it is cut off."""
    opening = next(at for at in range(start, len(text)) if text[at] in "[{")
    try:
        return json.JSONDecoder().raw_decode(text, opening)
    except (ValueError, RecursionError):
        return None, len(text)


def _is_call_in(language: str, code: str) -> bool:
    if language.lower() not in _IN_CODE:
        return False
    lines = [line for line in code.split("\n") if line.strip()]
    if lines and all(_PYTHON.fullmatch(line) for line in lines):
        return True
    try:
        return _is_call(json.loads(code))
    except (ValueError, RecursionError):
        return _CUT.match(code) is not None


def _is_call(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_is_call, value))
    if not isinstance(value, dict):
        return False
    if any(map(_CALLS.fullmatch, value)) or _is_call(value.get("function")):
        return True
    named = any(isinstance(value[key], str) for key in value if _NAME.fullmatch(key))
    return named and any(_are_arguments(key, value[key]) for key in value if _ARGUMENTS.fullmatch(key))


def _are_arguments(key: str, value: Any) -> bool:
    """A text where the key leaves no doubt, or where it is JSON, as some APIs have it."""
    if isinstance(value, str):
        return key.startswith(("tool_", "action_", "function_")) or value.lstrip().startswith("{")
    return isinstance(value, dict)
