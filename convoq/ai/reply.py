"""The gate that every model's text passes before a person reads it.

What comes out is Markdown that can be encoded and seen, free of reasoning, tool calls and template marks; or nothing,
where no answer is left. The channel turns it into its own markup and into messages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from convoq.ai.facts import CLOSING, OPENING
from convoq.ai.marks import code_spans, is_answer, without_marks
from convoq.prose import end_at_sentence, sendable

LONGEST: Final = 32_000  #: characters; more than any reply may become, and little enough to parse while others wait
MOST_PASSES: Final = 8  # over a text whose pieces form a new mark each time

_MARKED: Final = re.compile(
    rf"[<\[{{◁【�{OPENING}{CLOSING}]|```|\A\s*(?:analysis|assistant|commentary)|^Action Input:",
    re.IGNORECASE | re.MULTILINE,
)
_ROLE_WORD: Final = re.compile(r"\A\s*assistant(?:\s*:|[^\S\n]*\n)\s*", re.IGNORECASE)
# gpt-oss where the server drops the special tokens and keeps the words between them.
_BARE_CHANNELS: Final = re.compile(
    r"\A\s*(?:(?:(?:analysis|commentary)[\s\S]*)?assistantfinal\s*|analysis(?=[A-Z])[\s\S]*)"
)
# The oldest way to call tools: it ends with "Final Answer:", or in the middle.
_REACT: Final = re.compile(r"\A[\s\S]*^Action Input:[\s\S]*?(?:^Final Answer:|\Z)", re.MULTILINE)
_CUT_MARK: Final = re.compile(r"<[|｜][\w▁]{0,40}[|｜]?\Z")
# What the system alone writes to a model, as a model repeats it.
_FACT: Final = re.compile(rf"{OPENING}[^{CLOSING}\n]*(?:{CLOSING}|\Z)|[{OPENING}{CLOSING}]")
_COLLEAGUE: Final = "[colleague]"
_CITATION: Final = re.compile(r"【[^】\n]{0,40}†[^】\n]{0,200}】")
_WHOLE_FENCE: Final = re.compile(r"\A\s*```(\w*)[^\S\n]*\n((?:(?!```)[\s\S])*)\n?```\s*\Z")
_TOOL_FENCE: Final = re.compile(r"^```(?:tool|function)_\w+[^\S\n]*\n(?:(?!```)[\s\S])*(?:```|\Z)", re.MULTILINE)
_CALL: Final = re.compile(
    r'(?:(?<=^)|(?<=\n)|(?<=[.!?:…] ))[^\S\n]*\[?\s{0,20}\{\s{0,20}"'
    r'(?:name|type|function|tool|tool_name|tool_calls|function_call|action|arguments|parameters|id)"\s{0,20}:'
)
_CUT_CALL: Final = re.compile(r'\[?\s*\{[^{}]{0,200}"(?:arguments|parameters|action_input|args)"\s*:')
_NAMES: Final = ("name", "function", "tool", "tool_name", "action")
_ARGUMENTS: Final = ("arguments", "parameters", "args", "input", "action_input")


def clean(text: str) -> str:
    """What of a model's text a person may read, as Markdown; empty when no answer is left. A second pass changes
    nothing."""
    for _ in range(MOST_PASSES):
        cleaned = _clean_once(text)
        if cleaned == text:
            return text
        text = cleaned
    return ""


def _clean_once(text: str) -> str:
    text = sendable(text).strip()
    if _MARKED.search(text):
        text = _without_calls(without_marks(_without_channel_words(text)))
        text = _FACT.sub("", _CITATION.sub("", _CUT_MARK.sub("", text)))
        text = _unwrapped(text.replace("\ufffd", "")).strip()
    while text.lower().startswith(_COLLEAGUE):
        text = text[len(_COLLEAGUE) :].lstrip()
    if len(text) > LONGEST:
        text = end_at_sentence(text[: LONGEST - 2])
    return text if is_answer(text) else ""


def _without_channel_words(text: str) -> str:
    return _ROLE_WORD.sub("", _REACT.sub("", _BARE_CHANNELS.sub("", text)))


def _unwrapped(text: str) -> str:
    """Without a fence around the whole answer, unless it is code in some language."""
    match = _WHOLE_FENCE.match(text)
    return match[2] if match and match[1].lower() in ("markdown", "md", "text", "txt", "plaintext") else text


def _without_calls(text: str) -> str:
    """Without JSON that calls a tool, where it stands by itself: in a line of its own or after a sentence."""
    text = _TOOL_FENCE.sub("", text[: 2 * LONGEST])
    if (whole := _WHOLE_FENCE.match(text)) and whole[1].lower() in ("", "json") and _is_call_text(whole[2]):
        return ""
    if not _CALL.search(text):
        return text
    return "".join(_around_calls(text))


def _around_calls(text: str) -> Iterator[str]:
    code = list(code_spans(text))
    at = 0
    for match in _CALL.finditer(text):
        if match.start() < at or any(start <= match.start() < end for start, end in code):
            continue
        end = _end_of_call(text, match.start())
        if end is not None:
            yield text[at : match.start()]
            at = end
    yield text[at:]


def _end_of_call(text: str, start: int) -> int | None:
    start = next(at for at in range(start, len(text)) if not text[at].isspace())
    try:
        value, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return len(text) if _CUT_CALL.match(text, start) else None
    return end if _is_call(value) else None


def _is_call_text(text: str) -> bool:
    try:
        return _is_call(json.loads(text))
    except (ValueError, RecursionError):
        return False


def _is_call(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_is_call, value))
    if not isinstance(value, dict):
        return False
    if "tool_calls" in value or "function_call" in value or _is_call(value.get("function")):
        return True
    named = any(isinstance(value.get(key), str) for key in _NAMES)
    return named and any(isinstance(value.get(key), dict | str) for key in _ARGUMENTS)
