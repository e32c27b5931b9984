"""What a model writes as Markdown is shown by a phone as it was meant."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoq.channels.markdown import MAX_NESTING, PLAIN, Markup, render
from convoq.channels.twilio.channel import WHATSAPP

CASES = [
    pytest.param(
        "**bold**, *soft*, _soft_, ~~gone~~", "*bold*, _soft_, _soft_, ~gone~", "bold, soft, soft, gone", id="marks"
    ),
    pytest.param("***both***", "_*both*_", "both", id="both"),
    pytest.param("__two\nlines__", "*two*\n*lines*", "two\nlines", id="lines"),
    pytest.param("un**frig**able", "unfrigable", "unfrigable", id="inside a word"),
    pytest.param("`a_b` and `**c**`", "`a_b` and `**c**`", "a_b and **c**", id="code"),
    pytest.param("```python\nx = '**'\n```", "```\nx = '**'\n```", "x = '**'", id="fence"),
    pytest.param("# Hours\nMo **9**\n\nBye", "*Hours*\nMo *9*\n\nBye", "Hours\nMo 9\n\nBye", id="heading"),
    pytest.param("## **Hours**", "*Hours*", "Hours", id="bold heading"),
    pytest.param("* one\n* two", "- one\n- two", "- one\n- two", id="bullets"),
    pytest.param("1. a\n   - b\n2. c", "1. a\n  - b\n2. c", "1. a\n  - b\n2. c", id="nested"),
    pytest.param("**A**\n- b\n- c\n\nd", "*A*\n- b\n- c\n\nd", "A\n- b\n- c\n\nd", id="a list right below"),
    pytest.param("**Note:**text", "Note:text", "Note:text", id="bold without a blank"),
    pytest.param("这是**重要：**内容", "这是重要：内容", "这是重要：内容", id="bold in Chinese"),
    pytest.param("- a\n\n- b", "- a\n\n- b", "- a\n\n- b", id="a loose list"),
    pytest.param("3) a\n4) b", "3) a\n4) b", "3) a\n4) b", id="numbers"),
    pytest.param("[menu](https://ex.com/m)", "menu (https://ex.com/m)", "menu (https://ex.com/m)", id="link"),
    pytest.param("[ex.com/m](https://ex.com/m)", "https://ex.com/m", "https://ex.com/m", id="link to itself"),
    pytest.param("<https://ex.com/_a_>", "https://ex.com/_a_", "https://ex.com/_a_", id="autolink"),
    pytest.param("[us](mailto:a@b.c) <a@b.c>", "us (a@b.c) a@b.c", "us (a@b.c) a@b.c", id="mail"),
    pytest.param(
        "![Map](https://ex.com/m.png)", "Map (https://ex.com/m.png)", "Map (https://ex.com/m.png)", id="image"
    ),
    pytest.param(
        "| Plan | Price |\n|---|---:|\n| **S** | 10 |\n| L | |",
        "Plan: *S*, Price: 10\nPlan: L",
        "Plan: S, Price: 10\nPlan: L",
        id="table",
    ),
    pytest.param("> said\n> so", "> said\n> so", "> said\n> so", id="quote"),
    pytest.param("one\n\n---\n\ntwo", "one\n\ntwo", "one\n\ntwo", id="rule"),
    pytest.param("<b>bold</b><br>next", "*bold*\nnext", "bold\nnext", id="html"),
    pytest.param("a &amp; b&nbsp;c", "a & b c", "a & b c", id="entities"),
    pytest.param(r"2 \* 3 \_x\_", "2 * 3 _x_", "2 * 3 _x_", id="escapes"),
]


@pytest.mark.parametrize(("markdown", "whatsapp", "sms"), CASES)
def test_markdown_becomes_the_channels_markup(markdown: str, whatsapp: str, sms: str) -> None:
    assert render(markdown, WHATSAPP) == whatsapp
    assert render(markdown, PLAIN) == sms


@pytest.mark.parametrize(
    "text",
    [
        "Hello Ana. We open at 9.\n\nSee you!",
        "5*3*2 = 30, 2 * 3 * 4 = 24, 20* and 30*",
        "2**3 and 4**5, x**2 + y**2",
        "snake_case_name at https://ex.com/__init__/a*b*c",
        "https://ex.com/a_b_?c=_d_&e=*f*",
        "+34 600 11 22 33",
        "+ 5 euros",
        "- one\n- two",
        "List<String> and <name> and 1 < 2 & 3 > 2",
        "The <b> tag has no end here",
        "[1]: https://ex.com/source",
        "a | b",
        "Total\n---",
        "C:\\path\\new",
        "[ ] open, [x] done",
        "1986. What a year",
        ":-) ;) <3",
    ],
)
def test_what_is_not_markdown_stays(text: str) -> None:
    expected = "Total" if text.startswith("Total") else text
    assert render(text, WHATSAPP) == expected
    assert render(text, PLAIN) == expected


def test_a_character_that_is_spelled_out_is_looked_at_too() -> None:
    assert render("pay &#8238;evil&#0;", PLAIN).isprintable()


ATOMS = [
    "**",
    "*",
    "_",
    "~~",
    "`",
    "```\n",
    "\n",
    "\n\n",
    "word",
    " ",
    "# ",
    "- ",
    "1. ",
    "> ",
    "|",
    "|-|-|\n",
    "[",
    "](",
    ")",
]
ATOMS += ["https://ex.com/_a_", "<b>", "</b>", "<br>", "&amp;", "&#8203;", "\\", "![", "    ", "😀"]


@given(st.lists(st.sampled_from(ATOMS), max_size=40).map("".join) | st.text(max_size=60))
def test_any_text_is_rendered_and_still_seen(text: str) -> None:
    for markup in (WHATSAPP, PLAIN):
        rendered = render(text, markup)
        assert bool(rendered.strip()) == bool(text.strip())
        assert "word" not in text or "word" in rendered


@given(st.lists(st.sampled_from([*ATOMS, "W", "W", "W", '(https://ex.com "']), max_size=40))
def test_no_word_is_lost(atoms: list[str]) -> None:
    words = [f"word{number}x" for number in range(len(atoms))]
    text = "".join(word if atom in ("W", "word") else atom for atom, word in zip(atoms, words, strict=True))
    for markup in (WHATSAPP, PLAIN):
        rendered = render(text, markup)
        # The word right behind the beginning of a fence names a language.
        said = re.sub(r"(?:`{3,}|~{3,})\w+", "", text)
        assert all(word in rendered for word in words if word in said)


@pytest.mark.parametrize("markup", [WHATSAPP, PLAIN])
@pytest.mark.parametrize("mark", ["> ", "- ", "1. ", "> - ", "> 1. - "])
@pytest.mark.parametrize("levels", [5, 19, 20, 21, MAX_NESTING - 1, MAX_NESTING, MAX_NESTING + 1, 3000])
def test_no_word_is_lost_at_any_nesting(levels: int, mark: str, markup: Markup) -> None:
    rendered = render(f"Hello *all*\n\n{mark * levels}word **bold**\n\nend", markup)
    assert all(word in rendered for word in ("Hello", "all", "word", "bold", "end"))


@pytest.mark.parametrize(
    ("table", "lines"),
    [
        ("| Plan | Price |\n|---|---|\n| S | 10 | monthly |", "Plan: S, Price: 10, monthly"),
        ("Plan | Price\n--|--\nS | 10 | monthly\nM | 20", "Plan: S, Price: 10, monthly\nPlan: M, Price: 20"),
        ("| A |\n|--|\n| 1 | 2 | 3 |\n| 4 \\| 5 | 6 |", "A: 1, 2, 3\nA: 4 | 5, 6"),
        ("> | A |\n> |--|\n> | 1 | 2 |", "> A: 1, 2"),
        ("- x\n\n  | A |\n  |--|\n  | 1 | 2 |", "- x\n  \n  A: 1, 2"),
        ("| A |\n|--|\n| 1 | 2 |\n\n| B |\n|--|\n| 3 | 4 |", "A: 1, 2\n\nB: 3, 4"),
        ("| A | B |\n|--|--|\n| 1 | 2 |\nThat is all of **it**.", "A: 1, B: 2\nThat is all of it."),
        ("```\n| A |\n|--|\n| 1 | 2 |\n```", "| A |\n|--|\n| 1 | 2 |"),
        ("a | b\n--- and c | d | e", "a | b\n--- and c | d | e"),
    ],
)
def test_a_table_becomes_lines_with_every_cell(table: str, lines: str) -> None:
    assert render(f"**Plans**\n\n{table}\n\n*end*", PLAIN) == f"Plans\n\n{lines}\n\nend"


@pytest.mark.parametrize(
    "info",
    [
        "mermaid {init}",
        "{.python .numberLines}",
        ' js {1,3-5} title="a.js"',
        "diff lang=ts",
        "12:15:src/app/a.ts",
        "c#",
    ],
)
def test_what_a_fence_says_of_its_code_is_not_sent(info: str) -> None:
    assert render(f"So:\n\n```{info}\nx = 1\n```", PLAIN) == "So:\n\nx = 1"
    assert render(f"```{info}\nx = 1\n```", WHATSAPP) == "```\nx = 1\n```"


def test_words_behind_a_fence_that_are_no_options_are_said() -> None:
    assert "Here it is" in render("```Here it is\nx = 1\n```", PLAIN)


def test_the_title_of_a_link_is_said() -> None:
    assert render('[menu](https://ex.com "of today")', PLAIN) == "menu, of today (https://ex.com)"


@pytest.mark.parametrize(
    "piece",
    ["[", "![[", "*a ", "`a", "<b>", "a|", "a|\n-|\n", "|a\n|-\n|b|c\n\n", "- ", "&", "https://", "~~a", "**a **"],
)
def test_a_long_text_does_not_hold_the_others_up(piece: str) -> None:
    began = time.process_time()
    render(piece * (32_000 // len(piece)), WHATSAPP)
    assert time.process_time() - began < 5


def test_the_parser_is_loaded_when_it_is_needed() -> None:
    code = "import sys, convoq.channels.twilio.channel; sys.exit('markdown_it' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0
