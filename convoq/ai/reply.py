"""The gate that every model's text passes before a person reads it.

What comes out is Markdown that can be encoded and seen, free of reasoning, tool calls and template marks; or nothing,
where no answer is left. The channel turns it into its own markup and into messages.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from convoq.ai.calls import HINTS, without_calls
from convoq.ai.facts import CLOSING, OPENING
from convoq.ai.marks import is_answer, unescaped, without_marks
from convoq.ai.wrappers import THEIRS, without_form, without_thoughts, without_turns
from convoq.prose import end_at_sentence, sendable

LONGEST: Final = 32_000  #: characters; more than any reply may become, and little enough to parse while others wait
MOST_PASSES: Final = 8  # over a text whose pieces form a new mark each time

_MARKED: Final = re.compile(
    rf"[<\\＜◁【�{OPENING}{CLOSING}]|&(?=lt;|#)|\A\s*(?:analysis|assistant|commentary)"
    rf"|\A[*_#\s]{{0,6}}[\w -]{{2,40}}[*_]{{0,3}}\s?[:：]|\n[*_#\s]{{0,4}}(?:{THEIRS})[*_]{{0,3}}:",
    re.IGNORECASE,
)
_ROLE_WORD: Final = re.compile(r"\A\s*assistant(?:\s*:|[^\S\n]*\n)\s*", re.IGNORECASE)
# gpt-oss where the server drops the special tokens and keeps the words between them.
_BARE_CHANNELS: Final = re.compile(
    r"\A\s*(?:(?:(?:analysis|commentary)[\s\S]*)?assistantfinal\s*|analysis(?=[A-Z])[\s\S]*)"
)
_CUT_MARK: Final = re.compile(r"<[|｜][\w▁]{0,40}[|｜]?\Z")
# What the system alone writes to a model, as a model repeats it.
_FACT: Final = re.compile(rf"{OPENING}[^{CLOSING}\n]*(?:{CLOSING}|\Z)|[{OPENING}{CLOSING}]")
_COLLEAGUE: Final = "[colleague]"
_CITATION: Final = re.compile(r"【[^】\n]{0,40}†[^】\n]{0,200}】")
_WHOLE_TAG: Final = re.compile(
    r"\A<((?:\w{1,20}[_-])?(?:message|text|result|summary|content|assistant|sms|chat|output|reply|solution)"
    r"(?:_to_\w{1,20})?)>((?:(?!</?\1>)[\s\S])*)(?:</\1>)?\Z",
    re.IGNORECASE,
)
_FIRST_PLAN: Final = re.compile(
    r"\A<(plan|planning|internal|hidden|self[_-]\w{1,20})>[\s\S]*?</\1>(?:[^\S\n]*\n|(?=[A-Z]))", re.IGNORECASE
)
_WHOLE_FENCE: Final = re.compile(r"\A\s*```(\w*)[^\S\n]*\n((?:(?!```)[\s\S])*)\n?```\s*\Z")


def clean(text: str, tools: Collection[str] = ()) -> str:
    """What of a model's text a person may read, as Markdown; empty when no answer is left. A second pass changes
    nothing. `tools`: the names of those that the model was offered, whose calls are no answer."""
    for _ in range(MOST_PASSES):
        cleaned = _clean_once(text, tools)
        if cleaned == text:
            return text
        text = cleaned
    return ""


def _clean_once(text: str, tools: Collection[str]) -> str:
    text = sendable(text).strip()
    if _MARKED.search(text) or any(hint in text for hint in (*HINTS, *tools)):
        text = without_thoughts(without_form(text))
        text = without_marks(unescaped(_without_channel_words(text)))
        text = without_calls(text[: 2 * LONGEST], tools)
        text = _FACT.sub("", _CITATION.sub("", _CUT_MARK.sub("", text)))
        text = without_turns(_unwrapped(text.replace("\ufffd", "").strip())).strip()
    while text.lower().startswith(_COLLEAGUE):
        text = text[len(_COLLEAGUE) :].lstrip()
    if len(text) > LONGEST:
        text = end_at_sentence(text[: LONGEST - 2])
    return text if is_answer(text) else ""


def _without_channel_words(text: str) -> str:
    return _FIRST_PLAN.sub("", _ROLE_WORD.sub("", _BARE_CHANNELS.sub("", text)))


def _unwrapped(text: str) -> str:
    """Without a fence or a tag around the whole answer, unless it is code in some language."""
    if tag := _WHOLE_TAG.match(text):
        return tag[2]
    match = _WHOLE_FENCE.match(text)
    return match[2] if match and match[1].lower() in ("markdown", "md", "text", "txt", "plaintext") else text
