"""The marks of models and their templates in a text: reasoning, channels, turns, tool calls.

One pass from left to right over every mark that is known; one inside code or quotation marks is what the text is
about.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from enum import Enum, auto
from typing import Final
from unicodedata import category

# Names are put together of these, in any spelling: "thoughtProcess", "reasoning_content", "final-answer".
_REASONING: Final = "think|thinking|reasoning|scratchpad|inner_monologue|chain_of_thought"
_LIKE_REASONING: Final = (
    r"(?:[a-z]{1,20}[_-]){0,3}(?:think|thinking|thoughts?|reasoning|reflections?|analysis|scratch_?pad|monologue"
    r"|rationale|deliberation|introspection|brainstorm|critique|cot)"
    r"(?:[_-]?(?:process|content|steps?|trace|text|blocks?|section|summary|log|notes?|chain|mode|budget))?"
    r"|self[_-](?:reflection|critique|talk|reasoning)"
)
_TOOLS: Final = (
    "tool_calls?|tool_use|tool_code|tool_response|tool_results?|tool_outputs?|function_calls?|function_results?"
    "|function_response|function(?==)|(?<=/)function"
)
_LIKE_TOOLS: Final = (
    "(?:tool|function|plugin|api)[_-]?(?:calls?|use|code|request|response|results?|outputs?|input|execution)"
    "|action[_-]input"
)
_ANSWERS: Final = "final_answer"
_LIKE_ANSWERS: Final = (
    "(?:(?:final|assistant|model|bot|agent|user|customer|chat)[_-]?)(?:answer|response|reply|output|solution)"
    "(?:[_-]?(?:text|message|content|to[_-](?:the[_-])?(?:user|customer)))?"
)
# Words that people write, too: a menu's <Analysis>, a <response> in XML. They are marks by where they stand alone.
_REASONING_WORDS: Final = (
    "thoughts?|reflections?|analysis|rationale|deliberation|introspection|brainstorm|critique|monologue"
    "|denken|nachdenken|gedanken(?:gang)?|überlegung(?:en)?|pensamientos?|razonamiento|réflexions?|pensées?"
    "|raisonnement|pensamentos?|raciocínio|pensier[oi]|ragionamento|gedachten?|redenering|myślenie|rozumowanie"
    "|мысли|размышлени[ея]|рассуждени[ея]|思考|推理|생각"
)
_ANSWER_WORDS: Final = (
    "final|answer|response|antwort|respuesta|réponse|resposta|risposta|antwoord|odpowiedź|ответ|回答|答案"
)
_BRACKETED: Final = "think(?:ing)?|reasoning|thoughts?|analysis|reflection|scratchpad|internal|denken|pensando"
_PREFIX: Final = r"(?:\w{1,20}:|[|｜]\w{1,20}[|｜])?"
_MARK: Final = re.compile(
    rf"<(?P<close>/?)\s*{_PREFIX}(?:(?P<word>(?P<reasoning_word>{_REASONING_WORDS})|(?P<answer_word>{_ANSWER_WORDS})"
    rf"|tools|invoke)|(?P<reasoning>{_REASONING})|(?P<tool>{_TOOLS})|(?P<answer>{_ANSWERS})"
    rf"|(?P<like_reasoning>{_LIKE_REASONING})|(?P<like_tool>{_LIKE_TOOLS})|(?P<like_answer>{_LIKE_ANSWERS}))"
    r"(?:\s[^<>\n]{0,80}=[^<>\n]{0,80}|=[^<>\n]{1,80}|\s*/?)>"
    rf"|(?P<reasoning_bracket>(?-i:\[/?THINK\])|◁/?think▷)|\[(?P<bracket_close>/?)(?P<bracket>{_BRACKETED})\]"
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
_SPAN: Final = re.compile(r"(?<!`)(`{1,2})(?!`)[^\n]{1,200}?(?<!`)\1(?!`)")
_FENCE: Final = re.compile(r"[^\S\n]*(?:>[^\S\n]*)?(`{3,}|~{3,})(.*)")
_OPENED: Final = re.compile(rf"<{_PREFIX}(?:{_REASONING}|{_REASONING_WORDS}|{_LIKE_REASONING})\b", re.IGNORECASE)
_WORD_BEFORE: Final = re.compile(r"[\w,] ")
_WORD_AFTER: Final = re.compile(r" [^\W\dA-Z]")
_AMID: Final = re.compile(r"(?:\w|[\w,] |>\s*)\Z")  # ">": it is part of other XML
_A_SENTENCE: Final = 3  # words
_LINE_BEFORE: Final = re.compile(r"(?:\A|\n)[^\S\n]*\Z")
_LINE_AFTER: Final = re.compile(r"[^\S\n]*(?:\n|\Z)")
_QUOTES: Final = "\"'“”„«»‘’「」『』"

_ENDS: Final = frozenset(
    {"end", "im_end", "eot_id", "eom_id", "eot", "end_of_text", "endoftext", "end_of_turn", "end_of_sentence", "return"}
    | {"eos", "/s", "turn_end", "endofturn", "eod", "assistant_end"}
)
_ROLES: Final = frozenset({"user", "human", "system", "developer", "tool", "ipython", "environment"})
_STARTS: Final = frozenset(
    {"start", "im_start", "start_header_id", "start_of_turn", "turn", "begin", "header_start", "start_of_role"}
)


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
        if match["word"] or match["bracket"]:
            return self._is_in_code(match, code, starts) or not self._is_in_place(match)
        if match["plain"] == "/s" and "<s>" in self._text[self._at : match.start()]:
            return True
        if not (match["reasoning"] or match["tool"]) and self._is_amid_words(match):
            return True
        # A generic type of some language, List<Response>: the answer's own mark follows no word.
        if (match["answer"] or match["like_answer"]) and not match["close"] and before.isalnum():
            return True
        return self._is_in_code(match, code, starts)

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
        begins = _LINE_BEFORE.search(text, max(0, start - 40), start) is not None
        ends = _LINE_AFTER.match(text, end) is not None
        is_first = not self._has_said and not text[self._at : start].strip()
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

    def _is_rest(self, match: re.Match[str]) -> bool:
        """Whether a whole sentence stands between the mark and its other half, and nothing behind that."""
        if not self._is_closed(match) or not self._lower.rstrip().endswith(f"/{match['word'].lower()}>"):
            return False
        return len(self._text[match.end() : match.end() + 80].split("</")[0].split()) >= _A_SENTENCE

    def _is_closed(self, match: re.Match[str]) -> bool:
        end = match[0][0] + "/" + (match["word"] or match["bracket"]).lower()
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
