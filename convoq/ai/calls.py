"""Calls of tools that a model has written as text: JSON, code of Python's shape, tags, the lines of ReAct.

What names a tool that the model was offered is a call. Anything else is one only where its form leaves no doubt: a
developer is answered with JSON and code, too.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Collection, Iterator
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple

from convoq.ai.code import code_spans
from convoq.ai.wrappers import ABOUT_THEM

#: A text without any of these, and without the name of a tool, holds no call.
HINTS: Final = ("{", "```", "~~~", "Thought", "Action", "default_api.", "functions.", "[")
MOST_BROKEN: Final = 20  #: beginnings of JSON that are read in vain; each may take as long as the text

_LABEL: Final = r"^[*_#>\s]{0,4}"
# The oldest way to call tools: what is thought and done ends with "Final Answer:", or in the middle.
_THOUGHT: Final = r"\A\s*(?:[*_#]{0,3}Question[*_]{0,3}:[^\n]*\s+)?[*_#\s]{0,4}Thought"
_A_CALL: Final = r"[*_`\s]{0,4}[\w.-]{1,64}[*_`]{0,3}[^\S\n]*(?:[(\[{]|$)"
_REACT: Final = re.compile(
    rf"(?:{_THOUGHT}s?[*_]{{0,3}}:|\A[*_#\s]{{0,4}}Action[*_]{{0,3}}:{_A_CALL})"
    rf"[\s\S]*?^[*_]{{0,3}}Action Input[*_]{{0,3}}:[\s\S]*?(?:{_LABEL}Final Answer[*_]{{0,3}}:|\Z)"
    rf"|{_THOUGHT}s?[*_]{{0,3}}:[\s\S]*?{_LABEL}Final (?:Answer|Response|Reply)[*_]{{0,3}}:[*_]{{0,3}}"
    r"|\A\s*\*\*Thought:\*\*[\s\S]*?^\*\*Answer:\*\*"
    # Cut off; a person's own thought speaks of neither.
    rf"|{_THOUGHT}[*_]{{0,3}}:[\s\S]*?{_LABEL}Action[*_]{{0,3}}:{_A_CALL}[\s\S]*"
    rf"|{_THOUGHT}[*_]{{0,3}}:[*_\s]{{0,4}}"
    rf"(?:{ABOUT_THEM})\b[\s\S]*"
    r"|\A\s*Action:\s*```(?:json)?\s*[\[{][\s\S]*",
    re.MULTILINE,
)
_WHOLE_FENCE: Final = re.compile(r"\A\s*```(\w*)[^\S\n]*\n((?:(?!```)[\s\S])*)\n?```\s*\Z")
_LAST_FENCE: Final = re.compile(r"(?<=\n)[^\S\n]*```(\w*)[^\S\n]*\n((?:(?!```)[\s\S])*)(?:```\s*)?\Z")
_TOOL_FENCE: Final = re.compile(r"^```(?:tool|function)_\w+[^\S\n]*\n(?:(?!```)[\s\S])*(?:```|\Z)", re.MULTILINE)
_IN_CODE: Final = frozenset({"", "json", "python", "py", "tool", "plaintext", "text"})
_JSON: Final = re.compile(
    r'(?:(?<=^)|(?<=\n)|(?<=[.!?:…] ))[^\S\n]*(?:functools)?\[?\s{0,20}\{\s{0,20}"[\w.-]{1,64}"\s{0,20}:'
)
_NAME: Final = re.compile(r"(?:tool|function|func|recipient|action|plugin|api)(?:_?name)?|name")
_TOOL_NAME: Final = re.compile(r"(?:tool|function)(?:_?name)?")
_ARGUMENTS: Final = re.compile(
    r"(?:(?:tool|function|func|action|call)_)?(?:arguments|parameters|args|params|kwargs|inputs?)"
)
_CALLS: Final = re.compile(r"(?:tool|function)_(?:calls?|uses?)")
_PLAIN_NAME: Final = re.compile(r"(?:functions\.)?[a-z_][\w.-]{0,80}")
_COMPOUND_NAME: Final = re.compile(r"[a-z]+(?:[_.-][a-z0-9]+|[A-Z][a-z0-9]+)+")
_CUT: Final = re.compile(
    r'\s*(?:functools)?\[?\s*\{[^{}]{0,200}"((?:(?:tool|function|action)_)?(?:arguments|parameters|input|args|params))"\s*:'
)
_NAMED: Final = re.compile(r'"(?:(?:tool|function|func|recipient|action)(?:_?name)?|name)"\s*:\s*"([^"\n]{1,80})"')
_NEVER: Final = r"(?!)"


class _Shape(NamedTuple):
    """Where JSON stands, which says how much it takes to be a call."""

    shown: bool = False  #: in a fence that words go before: as an example, unless it names a tool
    alone: bool = False  #: nothing else is said


def without_calls(text: str, tools: Collection[str] = ()) -> str:
    """Without what calls a tool, where it stands by itself: in a line of its own, after a sentence, or as code at the
    end that no words introduce. `tools`: the names of those that were offered."""
    forms = _forms(frozenset(tools))
    text = forms.react.sub("", forms.tags.sub("", _TOOL_FENCE.sub("", _REACT.sub("", text))))
    if (whole := _WHOLE_FENCE.match(text)) and _is_call_in(whole[1], whole[2], forms, _Shape(alone=True)):
        return ""
    if (last := _LAST_FENCE.search(text)) and _is_call_in(last[1], last[2], forms, _Shape(shown=True)):
        before = text[: last.start()].rstrip()
        text = text if before.endswith(":") else before
    code = list(code_spans(text))
    return "".join(_around(text, [*_python_calls(text, code, forms), *_json_calls(text, code, forms)]))


class _Forms(NamedTuple):
    """How the tools that were offered are called."""

    tools: frozenset[str]
    python: re.Pattern[str]  #: a line
    tags: re.Pattern[str]
    react: re.Pattern[str]


@lru_cache(maxsize=64)
def _forms(tools: frozenset[str]) -> _Forms:
    name = "|".join(map(re.escape, sorted(tools, key=len, reverse=True))) or _NEVER
    # print(default_api.hours(day="Monday")), functions.hours({}), [hours(day="Monday")], hours: {"day": 1}
    called = rf"(?:default_api\.\w{{1,60}}|(?:default_api\.|functions\.|tools\.)?(?:{name}))\([^\n]*\)"
    said = r"(?i:(?:tool|function)[ _]call:[^\S\n]*|call(?:ing)?:?[^\S\n]+)?"
    python = (
        rf"^[^\S\n]*{said}(?:(?:\w{{1,40}}[^\S\n]*=[^\S\n]*)?(?:await[^\S\n]+)?(?:print\()?{called}(?:[^\S\n]*;)?"
        rf"|(?:functions\.)?(?:{name})[^\S\n]*:?[^\S\n]*\{{[^\n]*\}})[^\S\n]*$"
        rf"|\A\s*(?:functools)?\[(?:(?:{name})\((?:\w{{1,60}}=[^\n()]{{0,2000}})?\)(?:,\s*)?)+\]\s*\Z"
    )
    return _Forms(
        tools,
        re.compile(python, re.MULTILINE),
        re.compile(
            rf"^[^\S\n]*<(?P<tool>{name})(?:\s[^<>\n]{{0,200}})?(?:/>|>[\s\S]*?(?:</(?P=tool)>|\Z))", re.MULTILINE
        ),
        re.compile(
            rf"^[*_]{{0,3}}Action[*_]{{0,3}}:[*_\s]{{0,4}}(?:{name})[^\S\n]*"
            r"(?:\n[*_]{0,3}(?:Action )?Input\b[\s\S]*|\Z)",
            re.MULTILINE,
        ),
    )


def _around(text: str, calls: list[tuple[int, int]]) -> Iterator[str]:
    at = 0
    for start, end in sorted(calls):
        yield text[at : max(at, start)]
        at = max(at, end)
    yield text[at:]


def _python_calls(text: str, code: list[tuple[int, int]], forms: _Forms) -> Iterator[tuple[int, int]]:
    for match in forms.python.finditer(text):
        if not _is_in(match.start(), code):
            yield match.span()


def _json_calls(text: str, code: list[tuple[int, int]], forms: _Forms) -> Iterator[tuple[int, int]]:
    at = broken = 0
    words = (len(text) - len(text.lstrip()), len(text.rstrip()))
    for match in _JSON.finditer(text):
        if match.start() < at or _is_in(match.start(), code):
            continue
        value, end = _json_at(text, match.start())
        broken += value is None
        if broken > MOST_BROKEN:
            return
        shape = _Shape(alone=match.start() <= words[0] and end >= words[1])
        is_cut = value is None and _is_cut_call(text[match.start() :], forms, shape)
        if is_cut or _is_call(value, forms, shape):
            yield match.start(), end
            at = end


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


def _is_call_in(language: str, code: str, forms: _Forms, shape: _Shape) -> bool:
    if language.lower() not in _IN_CODE:
        return False
    lines = [line for line in code.split("\n") if line.strip()]
    if lines and all(map(forms.python.fullmatch, lines)):
        return True
    try:
        return _is_call(json.loads(code), forms, shape)
    except (ValueError, RecursionError):
        return _is_cut_call(code, forms, shape)


def _is_cut_call(code: str, forms: _Forms, shape: _Shape) -> bool:
    match = _CUT.match(code)
    if match is None or (named := _NAMED.search(code[: match.end()])) is None:
        return False
    return _names_a_call(named[1], [(match[1], {})], forms, shape)


def _is_call(value: Any, forms: _Forms, shape: _Shape) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_is_call(one, forms, shape) for one in value)
    if not isinstance(value, dict) or not value:
        return False
    if all(key in forms.tools and isinstance(value[key], dict) for key in value):
        return True
    if not shape.shown and any(map(_CALLS.fullmatch, value)):
        return True
    if _is_call(value.get("function"), forms, shape):
        return True
    given = [(key, value[key]) for key in value if _ARGUMENTS.fullmatch(key)]
    names = [value[key] for key in value if isinstance(value[key], str) and _NAME.fullmatch(key)]
    if len(value) == 1 and _TOOL_NAME.fullmatch(next(iter(value))):
        return any(_bare(name) in forms.tools for name in names)
    return any(_names_a_call(name, given, forms, shape) for name in names)


def _names_a_call(name: str, given: list[tuple[str, Any]], forms: _Forms, shape: _Shape) -> bool:
    """Whether the tool of that name is called with what is given."""
    if _bare(name) in forms.tools:
        return any(isinstance(value, dict | str) for _, value in given)
    if shape.shown or _PLAIN_NAME.fullmatch(name) is None:
        return False
    if shape.alone and forms.tools and _COMPOUND_NAME.fullmatch(name) and given:
        return True
    return any(_leaves_no_doubt(name, key, value) for key, value in given)


def _leaves_no_doubt(name: str, key: str, value: Any) -> bool:
    """Whether the keys are those that models call tools with, and nothing else has."""
    if key.startswith(("tool_", "action_", "function_")):
        return isinstance(value, dict | str)
    is_object = isinstance(value, dict) or (isinstance(value, str) and value.lstrip().startswith("{"))
    return is_object and (key == "arguments" or name.startswith("functions."))


def _bare(name: str) -> str:
    return name.removeprefix("functions.").removeprefix("default_api.")
