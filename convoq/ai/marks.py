"""The marks of models and their templates in a text: reasoning, channels, turns, tool calls.

One pass from left to right over every mark that is known; one inside code or quotation marks is what the text is
about.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from enum import Enum, auto
from typing import Final
from unicodedata import category

from convoq.ai.code import code_spans
from convoq.ai.marknames import (
    ANSWER_WORDS,
    ANSWERS,
    BRACKETED,
    LIKE_ANSWERS,
    LIKE_REASONING,
    LIKE_TOOLS,
    PREFIX,
    REASONING,
    REASONING_WORDS,
    TOOLS,
)
from convoq.ai.mentions import is_spoken_of, is_type_name

_MARK: Final = re.compile(
    rf"<(?P<close>/?)\s*{PREFIX}(?:(?P<word>(?P<reasoning_word>{REASONING_WORDS})|(?P<answer_word>{ANSWER_WORDS})"
    rf"|tools|invoke)|(?P<reasoning>{REASONING})|(?P<tool>{TOOLS})|(?P<answer>{ANSWERS})"
    rf"|(?P<like_reasoning>{LIKE_REASONING})|(?P<like_tool>{LIKE_TOOLS})|(?P<like_answer>{LIKE_ANSWERS}))"
    r"(?:\s[^<>\n]{0,80}=[^<>\n]{0,80}|=[^<>\n]{1,80}|\s*/?)>"
    rf"|(?P<reasoning_bracket>(?-i:\[/?THINK\])|◁/?think▷)|\[(?P<bracket_close>/?)(?P<bracket>{BRACKETED})\]"
    r"|[<\[][|｜](?P<special>[\w▁./:-]{1,60})[|｜]?[>\]]|<(?P<special_close>[a-z_]{1,30})\|>"
    r"|<(?P<plain>start_of_turn|end_of_turn|bos|eos|pad|unk|/s)>|<<(?P<sys>/?SYS)>>"
    # Not the HTML that strikes a text through.
    r"|(?P<bos>\A\s*<s>(?=(?:(?!</s>)[\s\S])*(?:</s>\s*)?\Z))"
    r"|(?P<inst>\[/?INST\])|(?P<calls>\[/?TOOL_CALLS\]|\[TOOL_RESULTS\])",
    re.IGNORECASE,
)
# As HTML, Markdown and keyboards of East Asia write what is to be seen as it is.
_ESCAPED: Final = re.compile(
    r"(?:&lt;|&#0{0,4}60;|&#x0{0,4}3c;|\\<|＜)([^<>&＜＞\n]{1,60}?)(?:&gt;|&#0{0,4}62;|&#x0{0,4}3e;|\\?>|＞)",
    re.IGNORECASE,
)
_ROLE: Final = re.compile(
    r"\s*(assistant|model|user|human|system|developer|tool|ipython|environment)\b[^\S\n]*", re.IGNORECASE
)
_CHANNEL: Final = re.compile(r"\s*([A-Za-z_]*)")
_OPENED: Final = re.compile(rf"<{PREFIX}(?:{REASONING}|{REASONING_WORDS}|{LIKE_REASONING})\b", re.IGNORECASE)
_WORD_BEFORE: Final = re.compile(r"[\w,] ")
_WORD_AFTER: Final = re.compile(r" [^\W\dA-Z]")
_AMID: Final = re.compile(r"(?:\w|[\w,] |>\s*)\Z")  # ">": it is part of other XML
_A_SENTENCE: Final = 3  # words
_LINE_BEFORE: Final = re.compile(r"(?:\A|\n)[^\S\n]*\Z")
_BLANK: Final = re.compile(r"\s*")
_LINE_AFTER: Final = re.compile(r"[^\S\n]*(?:\n|\Z)")
_CALL_AFTER: Final = re.compile(r"\s*(?:[\[{]|[\w.]{1,60}\s?[({])")
_TEXT_AFTER: Final = re.compile(r"\s*[^\s<]")
_QUOTES: Final = "\"'“”„«»‘’「」『』"

_ENDS: Final = frozenset(
    {"end", "im_end", "eot_id", "eom_id", "eot", "end_of_text", "endoftext", "end_of_turn", "end_of_sentence", "return"}
    | {"eos", "/s", "turn_end", "endofturn", "eod", "assistant_end"}
)
_ROLES: Final = frozenset({"user", "human", "system", "developer", "tool", "ipython", "environment"})
_STARTS: Final = frozenset(
    {"start", "im_start", "start_header_id", "start_of_turn", "turn", "begin", "header_start", "start_of_role"}
)
_NAMED: Final = ("word", "reasoning", "tool", "answer", "like_reasoning", "like_tool", "like_answer")


class _Kind(Enum):
    REASONING = auto()
    REASONING_END = auto()
    TOOL = auto()
    TOOL_END = auto()
    ANSWER = auto()
    ANSWER_END = auto()
    CHANNEL = auto()
    START = auto()
    END = auto()
    NOTHING = auto()  #: a mark without a meaning of its own


def unescaped(text: str) -> str:
    """The text with its marks spelled plainly, unless they stand in code."""
    if not _ESCAPED.search(text):
        return text
    code = list(code_spans(text))
    starts = [start for start, _ in code]

    def plainly(match: re.Match[str]) -> str:
        span = bisect_right(starts, match.start()) - 1
        mark = _MARK.fullmatch(f"<{match[1]}>")
        is_mark = mark is not None and not mark["plain"] and not mark["bos"]
        return f"<{match[1]}>" if is_mark and (span < 0 or match.end() > code[span][1]) else match[0]

    return _ESCAPED.sub(plainly, text)


def without_marks(text: str) -> str:
    """What stands outside of reasoning, tool calls and turns that are not the answer; empty where that is cut off."""
    return _Scan(text).run()


class _Scan:
    def __init__(self, text: str) -> None:
        self._text = text
        self._kept: list[str] = []
        self._has_said = False
        self._at = 0
        self._hidden = False  # what follows is not for the person
        self._broken_off = False  # in the middle of a sentence
        self._answering = False  # inside <final>
        lower = text.lower()
        self._lower = lower if len(lower) == len(text) else text  # "İ" becomes two characters
        self._spoken_of: set[str] = set()  # the marks that the text speaks about
        self._end = len(text.rstrip())
        self._last_ends: dict[str, int] = {}  # where the last end of a mark stands
        self._openings: dict[str, tuple[int, int]] = {}  # how far a mark was looked for, and where the last one stands

    def run(self) -> str:
        code = list(code_spans(self._text))
        starts = [start for start, _ in code]
        for match in _MARK.finditer(self._text):
            if match.start() < self._at or self._is_mentioned(match, code, starts):
                continue
            if self._take(match):
                return "".join(self._kept)
        if self._hidden:
            return "" if self._broken_off else "".join(self._kept)
        return "".join((*self._kept, self._text[self._at :]))

    def _is_mentioned(self, match: re.Match[str], code: list[tuple[int, int]], starts: list[int]) -> bool:
        """Whether the text speaks about the mark. Inside of reasoning nothing is told apart."""
        if self._hidden:
            return False
        before, after = self._text[match.start() - 1 : match.start()], self._text[match.end() : match.end() + 1]
        if before and after and before in _QUOTES and after in _QUOTES:
            return True
        if is_type_name(_name(match)) and not self._is_title(match):
            return True
        if match["word"] or match["bracket"]:
            return self._is_in_code(match, code, starts) or not self._is_in_place(match)
        if match["plain"] == "/s" and "<s>" in self._text[self._at : match.start()]:
            return True
        if not (match["reasoning"] or match["tool"]) and self._is_amid_words(match):
            return True
        if _is_like(match):
            return self._is_in_code(match, code, starts) or not self._is_like_in_place(match)
        if self._is_spoken_of(match):
            return True
        # A generic type of some language, List<Response>: the answer's own mark follows no word.
        if match["answer"] and not match["close"] and before.isalnum():
            return True
        return self._is_in_code(match, code, starts)

    def _is_spoken_of(self, match: re.Match[str]) -> bool:
        name, closes = _name(match), bool(match["close"])
        if closes and name in self._spoken_of and not self._begins_line(match):
            return True
        if not is_spoken_of(self._text, match.span(), self._at, name=name, closes=closes):
            return False
        if not closes:
            self._spoken_of.add(name)
        return True

    def _is_title(self, match: re.Match[str]) -> bool:
        """Whether <Thinking> goes before the answer, written as a heading is."""
        name = _name(match)
        if not (self._is_first(match) and name[1:].islower() and (match["reasoning"] or match["reasoning_word"])):
            return False
        return self._is_closed(match) and not self._is_last(name)

    def _is_like_in_place(self, match: re.Match[str]) -> bool:
        """Whether a name that only resembles a mark's stands where one does: first, or in its own line, with its other
        half; or around all that follows."""
        text, start, end = self._text, match.start(), match.end()
        begins = self._begins_line(match)
        if match["close"]:
            ends = _LINE_AFTER.match(text, end) is not None or text[end : end + 1].isalnum()
            return self._answering or (
                (begins or ends) and not self._is_opened(match[0].replace("/", "")[:-1].lower(), start)
            )
        said = text[max(self._at, start - 80) : start].rstrip()
        is_closed, is_first = self._is_closed(match), self._is_first(match)
        if match["like_tool"] and not (
            _CALL_AFTER.match(text, end) or (is_first and is_closed and _TEXT_AFTER.match(text, end))
        ):
            return False
        if is_first:
            return True
        if not is_closed or said.endswith(":"):
            return False
        return begins or (self._is_last(_name(match)) and said.endswith((".", "!", "?", "…", "。", ">")))

    def _is_in_code(self, match: re.Match[str], code: list[tuple[int, int]], starts: list[int]) -> bool:
        span = bisect_right(starts, match.start()) - 1
        if span < 0 or match.end() > code[span][1]:
            return False
        # A fence that began in the reasoning would hide the reasoning's end.
        inside = self._text[code[span][0] : match.start()]
        ends_reasoning = match["close"] and (match["reasoning"] or match["reasoning_word"] or match["like_reasoning"])
        return not (ends_reasoning and "\n" in inside) or _OPENED.search(inside) is not None

    def _is_in_place(self, match: re.Match[str]) -> bool:
        """Whether a word that people write, too, stands where a mark does: alone, and with its other half."""
        text, start, end = self._text, match.start(), match.end()
        begins = self._begins_line(match)
        ends = _LINE_AFTER.match(text, end) is not None
        is_first = self._is_first(match)
        if match["close"] or match["bracket_close"]:
            if self._answering:
                return True
            opening = match[0].replace("/", "", 1)[:-1].lower()
            return (begins or ends) and not self._is_opened(opening, start)
        if match["answer_word"]:
            is_amid = _AMID.search(text, max(0, self._at, start - 80), start) is not None and not self._is_rest(match)
            return is_first or (not is_amid and (self._is_closed(match) or (begins and text[end : end + 1].isalnum())))
        if "=" in match[0]:
            return True
        if self._is_closed(match):
            return begins or is_first
        return is_first and (ends or (not match["bracket"] and text[end : end + 1].isalnum()))

    def _is_first(self, match: re.Match[str]) -> bool:
        blank = _BLANK.match(self._text, self._at, match.start())
        return not self._has_said and blank is not None and blank.end() == match.start()

    def _begins_line(self, match: re.Match[str]) -> bool:
        return _LINE_BEFORE.search(self._text, max(0, match.start() - 40), match.start()) is not None

    def _is_last(self, name: str) -> bool:
        """Whether the text ends with the other half."""
        return self._lower.endswith(f"/{name.lower()}>", 0, self._end)

    def _is_rest(self, match: re.Match[str]) -> bool:
        """Whether a whole sentence stands between the mark and its other half, and nothing behind that."""
        if not self._is_closed(match) or not self._is_last(match["word"]):
            return False
        return len(self._text[match.end() : match.end() + 80].split("</")[0].split()) >= _A_SENTENCE

    def _is_closed(self, match: re.Match[str]) -> bool:
        end = match[0][0] + "/" + (_name(match) or match["bracket"]).lower()
        if end not in self._last_ends:
            self._last_ends[end] = self._lower.rfind(end)
        return self._last_ends[end] >= match.end()

    def _is_opened(self, opening: str, end: int) -> bool:
        searched, found = self._openings.get(opening, (0, -1))
        found = max(found, self._lower.rfind(opening, searched, end))
        self._openings[opening] = (end, found)
        return found >= self._at

    def _is_amid_words(self, match: re.Match[str]) -> bool:
        before, after = self._text[max(0, match.start() - 2) : match.start()], self._text[match.end() : match.end() + 2]
        begins_line = match["like_reasoning"] or match["like_tool"] or match["like_answer"]
        is_after_word = _WORD_BEFORE.match(before) or (begins_line and before[-1:] in ("", "\n"))
        return bool(is_after_word and _WORD_AFTER.match(after))

    def _take(self, match: re.Match[str]) -> bool:
        """Goes on behind the mark; True when the answer is complete."""
        kind, name = _kind(match)
        if self._hidden and match["like_answer"]:
            kind = _Kind.NOTHING  # what is thought speaks of outputs and replies
        before = self._text[self._at : match.start()]
        self._at = match.end()
        if not self._hidden:
            self._kept.append(before)
            self._has_said = self._has_said or before.strip() != ""
        match kind:
            case _Kind.REASONING | _Kind.TOOL if not self._hidden:
                self._hide(before)
            case _Kind.REASONING_END:
                # Templates open the reasoning for the model: a lone end closes all that stands before it.
                if not self._hidden:
                    self._forget()
                self._hidden = False
            case _Kind.TOOL_END:
                self._hidden = False
            case _Kind.ANSWER:
                self._forget()
                self._hidden, self._answering = False, True
            case _Kind.ANSWER_END if self._answering and not self._hidden:
                return self._is_complete()
            case _Kind.CHANNEL:
                self._enter_channel()
            case _Kind.START:
                return self._start_turn(name)
            case _Kind.END:
                self._hidden = False
                return self._is_complete()
        return False

    def _forget(self) -> None:
        self._kept.clear()
        self._has_said = False

    def _hide(self, before: str) -> None:
        last = before.rstrip(" ")[-1:]
        self._hidden = True
        self._broken_off = last.isalnum() or last in (",", ";")

    def _is_complete(self) -> bool:
        if is_answer("".join(self._kept)):
            return True
        self._forget()
        return False

    def _enter_channel(self) -> None:
        name = _CHANNEL.match(self._text, self._at)
        assert name is not None  # noqa: S101  # it matches nothing, too
        self._at = name.end()
        if name[1].lower() == "final":
            self._forget()
            self._hidden = False
        elif not self._hidden:
            self._hide("")

    def _start_turn(self, role: str) -> bool:
        if self._is_complete():
            return True
        # Some name it twice: <|im_user|>user<|im_middle|>.
        if (found := _ROLE.match(self._text, self._at)) and (not role or self._text.startswith("<|", found.end())):
            role, self._at = found[1].lower(), found.end()
        self._hidden = role in _ROLES
        self._broken_off = False
        return False


def _name(match: re.Match[str]) -> str:
    """Of a mark that is written as a tag is, as it is spelled."""
    return next((match[group] for group in _NAMED if match[group]), "")


def _is_like(match: re.Match[str]) -> bool:
    return any(match[group] for group in ("like_reasoning", "like_tool", "like_answer"))


def _kind(match: re.Match[str]) -> tuple[_Kind, str]:
    closes = "/" in (match["close"], match["bracket_close"])
    if match[0].endswith("/>"):
        return _Kind.NOTHING, ""
    if match["reasoning"] or match["reasoning_word"] or match["like_reasoning"] or match["bracket"]:
        return (_Kind.REASONING_END if closes else _Kind.REASONING), ""
    if match["answer"] or match["answer_word"] or match["like_answer"]:
        return (_Kind.ANSWER_END if closes else _Kind.ANSWER), ""
    if match["tool"] or match["word"] or match["like_tool"]:
        return (_Kind.TOOL_END if closes else _Kind.TOOL), ""
    if bracket := match["reasoning_bracket"]:
        return (_Kind.REASONING_END if "/" in bracket else _Kind.REASONING), ""
    if match["calls"]:
        return (_Kind.TOOL_END if "/" in match["calls"] else _Kind.TOOL), ""
    if inst := match["inst"]:
        return (_Kind.NOTHING, "") if "/" in inst else (_Kind.START, "user")
    if match["sys"] or match["bos"]:
        return _Kind.NOTHING, ""
    if match["special_close"]:
        return _special(match["special_close"].lower() + "_end")
    return _special((match["special"] or match["plain"]).lower().replace("▁", "_"))


def _special(name: str) -> tuple[_Kind, str]:
    """What <|name|> means, in any model's spelling."""
    name = name.removeprefix("im_").removeprefix("hy_").removesuffix("_token")
    ends = name.startswith(("end", "/")) or name.endswith(("end", "suffix"))
    if "think" in name or "thought" in name or name in ("inner_prefix", "inner_suffix"):
        return (_Kind.REASONING_END if ends else _Kind.REASONING), ""
    if "tool" in name or "function" in name or name in ("python_tag", "call", "action_start", "action_end"):
        if name == "tool":
            return _Kind.START, name
        return (_Kind.TOOL_END if ends else _Kind.TOOL), ""
    if name == "channel":
        return _Kind.CHANNEL, ""
    if name == "channel_end":
        return _Kind.REASONING_END, ""
    if name in _ENDS:
        return _Kind.END, ""
    if name in _STARTS:
        return _Kind.START, ""
    name = name.removesuffix("_start")
    if name in _ROLES or name in ("assistant", "model", "chatbot"):
        return _Kind.START, name
    return _Kind.NOTHING, ""


def is_answer(text: str) -> bool:
    """Whether there is a word, a number or a picture in it, not only punctuation and markup."""
    return any(char.isalnum() or category(char) in ("So", "Sc") for char in text)
