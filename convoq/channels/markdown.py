"""Turns Markdown, which models write whatever they are told, into what a phone shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import unescape
from typing import TYPE_CHECKING, Final

from convoq.prose import sendable

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Markup:
    """How a channel writes what Markdown says. An empty mark: it cannot, and the words stand alone."""

    bold: str = ""
    italic: str = ""
    strike: str = ""
    code: str = ""
    fence: str = ""


PLAIN: Final = Markup()

# A text without any of these is the same in Markdown; most replies are.
_MARKED: Final = re.compile(
    r"[*_~`#|<>&\\\[\]]|^[^\S\n]*(?:[-+]|\d{1,9}[.)])[^\S\n]|^[^\S\n]|\n[^\S\n]*\n\s*\n|---", re.MULTILINE
)
_URL: Final = re.compile(r"\w*://[^\s<>()\[\]\"`]+[^\s<>()\[\]\"`.,;:!?'*_~]")
_UNREAD_BOLD: Final = re.compile(r"(?<![A-Za-z0-9_*])\*\*(?=[^\s*])([^*\n]{1,200})(?<=\S)\*\*(?!\*)")
_LINE_END: Final = re.compile(r"\r\n?|\n")
_TAGS: Final = {"b": "bold", "strong": "bold", "i": "italic", "em": "italic", "s": "strike", "del": "strike"}
_TAG: Final = re.compile(r"<(/?)(\w+)\s*/?>")
# What is said in another way, and so is not among the words.
# The language of a fence, and options of it: ```mermaid {init}, ```py title="a.py", ```12:15:src/a.ts.
_FENCE_INFO: Final = (
    r"[^\S\n]*[\w+#.:/-]{0,80}(?:[^\S\n]*\{[^{}\n]{0,80}\}|[^\S\n]+[\w-]{1,20}=(?:\"[^\"\n]{0,80}\"|[\w./:-]{1,80}))*"
)
_UNSAID: Final = re.compile(
    rf"^[^\S\n]*(?:(?:[>*+-]|\d{{1,9}}[.)])[^\S\n]*)*(?:`{{3,}}|~{{3,}}){_FENCE_INFO}[^\S\n]*$"
    r"|</?(?:b|strong|i|em|s|del)\s*/?>|\]\(#[^)\s]*|mailto:|tel:"
    r"|[*_~`\\]",
    re.MULTILINE | re.IGNORECASE,
)
_DASHES: Final = re.compile(r"[|:\s-]*-[|:\s-]*")
_PIPE: Final = re.compile(r"(?<!\\)\|")
_BREAK: Final = re.compile(r"<br\s*/?>", re.IGNORECASE)
_WORD: Final = re.compile(r"\w+")
MOST_WIDENED: Final = 30  # tables of a text that get more columns: each moves all that stands behind it
MAX_NESTING: Final = 60  # levels of lists and quotations; each takes some frames of Python's stack
_MARK_TOKENS: Final = {"strong": "bold", "em": "italic", "s": "strike"}


def render(markdown: str, markup: Markup) -> str:
    """The text in the channel's markup: headings, tables and lists become lines, a link its words and its URL.

    No word is lost: a block that would lose one stays as it was written. A text that is not Markdown stays as it is.
    Renders once, not again what it rendered.
    """
    if not _MARKED.search(markdown):
        return markdown
    rendered = _blocks(_parser().parse(markdown), markup, _LINE_END.split(markdown)).strip("\n")
    return sendable(rendered) or markdown  # again: &#8238; has become a character


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # late: only a worker renders

    parser = MarkdownIt("commonmark", {"html": True, "maxNesting": MAX_NESTING}).enable(["table", "strikethrough"])
    # What people take for text: indented lines, a line of dashes below another, footnotes, angle brackets.
    parser.disable(["code", "lheading", "reference", "html_block"])
    parser.inline.ruler.before("newline", "bare_url", _bare_url)
    parser.block.ruler.at("table", _whole_table, {"alt": ["paragraph"]})
    # A URL as the model wrote it, not percent-encoded anew. The library has no option for it, and the class is
    # imported late: its methods are replaced on the one object instead of in a subclass.
    parser.normalizeLink = lambda url: url  # type: ignore[method-assign] # on this object instead of in a subclass
    parser.normalizeLinkText = lambda link: link  # type: ignore[method-assign] # as the line above
    return parser


def _bare_url(state: StateInline, silent: bool) -> bool:
    """Keeps a URL that stands in the text whole: its underscores and stars are no emphasis."""
    scheme = re.search(r"[a-zA-Z]+$", state.pending) if state.src.startswith("://", state.pos) else None
    match = _URL.match(state.src, state.pos) if scheme else None
    if match is None:
        return False
    if not silent:
        state.pending += match[0]
    state.pos = match.end()
    return True


def _whole_table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A table with all the cells of its rows, which the standard drops beyond the last heading, and without the line of
    text behind it, which the standard takes for one more row."""
    from markdown_it.rules_block import table

    last = next((line for line in range(start + 2, end) if "|" not in _line(state, line)), end)
    if silent or start + 2 > end:
        return table(state, start, last, silent)
    if _DASHES.fullmatch(_line(state, start + 1).strip()) and state.env.get("widened", 0) < MOST_WIDENED:
        columns = _columns(_line(state, start))
        missing = max([0, *(_columns(_line(state, line)) - columns for line in range(start + 2, last))])
        if missing and _columns(_line(state, start + 1)) == columns:
            state.env["widened"] = state.env.get("widened", 0) + 1
            _append(state, start, " |" * missing)
            _append(state, start + 1, "---|" * missing)
    return table(state, start, last, silent)


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]]


def _columns(row: str) -> int:
    inner = row.strip().removeprefix("|")
    return len(_PIPE.findall(inner)) + (not inner.endswith("|") or inner.endswith("\\|"))


def _append(state: StateBlock, line: int, cells: str) -> None:
    """More cells at the end of a line, behind which all of the text moves on."""
    at = state.eMarks[line]
    added = cells if _line(state, line).rstrip().endswith("|") else f"|{cells}"
    state.src = state.src[:at] + added + state.src[at:]
    state.eMarks[line] += len(added)
    for later in range(line + 1, len(state.bMarks)):
        state.bMarks[later] += len(added)
        state.eMarks[later] += len(added)


def _blocks(tokens: Sequence[Token], markup: Markup, source: Sequence[str] = ()) -> str:
    """The blocks of one level, each as its lines, with an empty line where there was one.

    `source`: the lines that the blocks have come from, which stand for one that would lose words.
    """
    text, at, ended = "", 0, -1
    while at < len(tokens):
        end = _end(tokens, at)
        block = _block(tokens[at], tokens[at + 1 : end], markup)
        if source and (lines := tokens[at].map):
            written = "\n".join(source[slice(*lines)]).strip("\n")
            block = written if _loses(written, block, tokens[at : end + 1]) else block
        if block.strip():
            adjacent = (tokens[at].map or (None,))[0] == ended
            text += block if not text else f"\n{block}" if adjacent else f"\n\n{block}"
            ended = _last_line(tokens[at : end + 1])
        at = end + 1
    return text


def _loses(written: str, block: str, tokens: Sequence[Token]) -> bool:
    """Whether the block lacks words: a row's cells beyond the last heading, or what is nested too deep."""
    return any(token.level >= MAX_NESTING - 1 for token in tokens) or not _words(written) <= _words(block)


def _words(text: str) -> set[str]:
    return set(_WORD.findall(unescape(_UNSAID.sub("", _BREAK.sub("\n", text)))))


def _last_line(tokens: Sequence[Token]) -> int:
    """The line after a block's last one. A list's own map counts the empty lines behind it, too."""
    return max((token.map[1] for token in tokens if token.nesting == 0 and token.map), default=-1)


def _end(tokens: Sequence[Token], start: int) -> int:
    """Where the block that begins here is closed."""
    depth = 0
    for at in range(start, len(tokens)):
        depth += tokens[at].nesting
        if depth <= 0:
            return at
    return len(tokens) - 1


def _block(opening: Token, inner: Sequence[Token], markup: Markup) -> str:
    match opening.type:
        case "fence":
            return _fenced(opening.content.rstrip("\n"), markup)
        case "heading_open":
            return _marked(_inline(inner[0].children or (), _without_bold(markup)), markup.bold)
        case "blockquote_open":
            return "\n".join(f"> {line}".rstrip() for line in _blocks(inner, markup).split("\n"))
        case "bullet_list_open" | "ordered_list_open":
            return _list(inner, markup)
        case "table_open":
            return _table(inner, markup)
        case "hr":
            return ""
        case "inline":
            return _inline(opening.children or (), markup)
    return _blocks(inner, markup)


def _fenced(code: str, markup: Markup) -> str:
    return f"{markup.fence}\n{code}\n{markup.fence}" if markup.fence and markup.fence not in code else code


def _without_bold(markup: Markup) -> Markup:
    return Markup(italic=markup.italic, strike=markup.strike, code=markup.code, fence=markup.fence)


def _list(inner: Sequence[Token], markup: Markup) -> str:
    items, at, tight = [], 0, True
    while at < len(inner):
        end = _end(inner, at)
        content = inner[at + 1 : end]
        bullet = f"{inner[at].info}{inner[at].markup}" if inner[at].info else inner[at].markup.replace("*", "-")
        tight = tight and not any(token.type == "paragraph_open" and not token.hidden for token in content)
        lines = _blocks(content, markup).split("\n")
        items.append("\n".join([f"{bullet} {lines[0]}", *(f"  {line}" for line in lines[1:])]).rstrip())
        at = end + 1
    return "\n".join(items) if tight else "\n\n".join(items)


def _table(inner: Sequence[Token], markup: Markup) -> str:
    """A line a row, each cell after the heading of its column."""
    rows: list[list[str]] = []
    for token in inner:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(" ".join(_inline(token.children or (), markup).split("\n")))
    headings, *lines = rows
    if not lines:
        return ", ".join(filter(None, headings))
    return "\n".join(", ".join(_cells(headings, line)) for line in lines)


def _cells(headings: Sequence[str], cells: Sequence[str]) -> Iterator[str]:
    for heading, cell in zip(headings, cells, strict=False):
        if cell:
            yield f"{heading.rstrip(':')}: {cell}" if heading else cell


@dataclass(slots=True)
class _Opened:
    """A mark whose end has not come yet, and what stands in it."""

    token: Token
    pieces: list[str]


def _inline(tokens: Sequence[Token], markup: Markup) -> str:
    """One paragraph's text. A mark is written only where the channel would read it as one."""
    stack: list[_Opened] = []
    pieces: list[str] = []
    html = _paired_tags(tokens)
    for at, token in enumerate(tokens):
        if token.type.endswith("_open") or html.get(at) == "open":
            stack.append(_Opened(token, pieces))
            pieces = []
        elif token.type.endswith("_close") or html.get(at) == "close":
            opened, text = stack.pop(), "".join(pieces)
            pieces = opened.pieces
            pieces.append(_closed(opened.token, text, pieces, _following(tokens, at), markup))
        else:
            pieces.append(_leaf(token, markup))
    return "".join(pieces)


def _following(tokens: Sequence[Token], at: int) -> str:
    following = tokens[at + 1] if at + 1 < len(tokens) else None
    return following.content[:1] if following is not None and following.type == "text" else ""


def _closed(token: Token, text: str, pieces: list[str], following: str, markup: Markup) -> str:
    if token.type == "link_open":
        return _link(_titled(text, token), str(token.attrs.get("href", "")))
    name = _TAGS[_tag_name(token)] if token.type == "html_inline" else _MARK_TOKENS[token.tag]
    before = pieces[-1][-1:] if pieces else ""
    inside_word = before.isalnum() or following.isalnum()
    if inside_word and (token.markup == "*" or (before.isalnum() and text[:1].isdigit())):
        return f"{token.markup}{text}{token.markup}"  # arithmetic, a footnote: numbers are not stressed in the middle
    return text if inside_word else _marked(text, getattr(markup, name))


def _marked(text: str, mark: str) -> str:
    """Each line for itself, and blanks outside: marks reach no further and stand at words."""
    if not mark:
        return text
    return "\n".join(_marked_line(line, mark) for line in text.split("\n"))


def _marked_line(line: str, mark: str) -> str:
    core = line.strip()
    if not core or mark in core:
        return line
    return line.replace(core, f"{mark}{core}{mark}", 1)


def _titled(text: str, token: Token) -> str:
    return ", ".join(filter(None, (text, str(token.attrs.get("title", "")))))


def _link(text: str, url: str) -> str:
    target = re.sub(r"^(?:mailto|tel):", "", url)
    bare = re.sub(r"^https?://", "", target).rstrip("/")
    if not target or target.startswith("#"):
        return text
    if text.rstrip("/") in (target.rstrip("/"), bare) or not text.strip():
        return target
    return f"{text} ({target})"


def _leaf(token: Token, markup: Markup) -> str:
    match token.type:
        case "softbreak" | "hardbreak":
            return "\n"
        case "code_inline":
            return f"{markup.code}{token.content}{markup.code}" if "`" not in token.content else token.content
        case "image":
            return _link(_titled(token.content, token), str(token.attrs.get("src", "")))
        case "html_inline" if (tag := _TAG.fullmatch(token.content)) and tag[2].lower() == "br":
            return "\n"
    # "**Note:**text" is no emphasis to CommonMark, for want of a blank.
    return _UNREAD_BOLD.sub(r"\1", token.content.replace("\xa0", " "))


def _tag_name(token: Token) -> str:
    tag = _TAG.fullmatch(token.content)
    return tag[2].lower() if tag else ""


def _paired_tags(tokens: Sequence[Token]) -> dict[int, str]:
    """Which HTML tags open and which close a mark; one without its partner is what the text is about."""
    pairs: dict[int, str] = {}
    opened: tuple[int, str] | None = None
    for at, token in enumerate(tokens):
        if token.type != "html_inline":
            opened = None if token.nesting else opened  # never across a mark of Markdown's
        elif token.content.startswith("</"):
            if opened and opened[1] == _tag_name(token):
                pairs |= {opened[0]: "open", at: "close"}
            opened = None
        elif (name := _tag_name(token)) in _TAGS:
            opened = (at, name)
    return pairs
