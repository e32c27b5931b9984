"""The gate: a person reads an answer, never what a model thinks, calls or marks."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoq.ai.reply import LONGEST, clean

OFFERED = ("get_order", "hours", "x")
CALL = '{"name": "get_order", "arguments": {"id": 17}}'

REASONING = [
    "The user asks for hours. </think>\n\nWe open at 9.",
    "I said `x` and ```y``` here.\n</think>We open at 9.",
    "<think>They ask for `</think>` maybe</think>We open at 9.",
    "<think>\n\n</think>\n\nWe open at 9.",
    "<think>a</think> <think>b</think>We open at 9.",
    "<THINKING mode='x'>a</THINKING>We open at 9.",
    "<reasoning>a</reasoning>\n<final>We open at 9.</final>",
    "Let me see. <final>We open at 9.</final> Done, I think.",
    "<think>They ask <final>We open at 9.",
    "<think>a</think><answer>We open at 9.</answer>",
    "<thinking>a</thinking>We open at 9.",
    "[THINK]a[/THINK]We open at 9.",
    "◁think▷a◁/think▷We open at 9.",
    "<|begin_of_thought|>a<|end_of_thought|><|begin_of_solution|>We open at 9.<|end_of_solution|>",
    "<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>We open at 9.<|END_RESPONSE|>",
    "We open at 9.\n<think>Was that right? They",
    "So: ```\nfoo\n</think>\nWe open at 9.",
    "<scratchpad>a</scratchpad>We open at 9.",
]
CHANNELS = [
    "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>We open at 9.<|return|>",
    "<|start|>assistant<|channel|>final<|message|>We open at 9.<|end|>",
    "<|channel|>analysis We must say. <|channel|>final We open at 9.",
    "<|channel|>commentary to=functions.hours <|constrain|>json<|message|>{}<|call|>"
    "<|start|>assistant<|channel|>final<|message|>We open at 9.",
    "analysisThe user asks for hours.assistantfinalWe open at 9.",
    "commentaryto=functions.hours json{}assistantfinal We open at 9.",
    "assistantfinalWe open at 9.",
    "<|channel>thought\nThey ask.<channel|>We open at 9.",
]
TEMPLATES = [
    "We open at 9.<|im_end|>",
    "We open at 9.<|im_e",
    "<think/>We open at 9.",
    "We open at 9.<|eot_id|>",
    "We open at 9.<|im_end|>\n<|im_start|>user\nAnd on Sunday?<|im_end|>\n<|im_start|>assistant\nClosed.",
    "<|im_start|>assistant\nWe open at 9.<|im_end|>",
    "<|start_header_id|>assistant<|end_header_id|>\n\nWe open at 9.<|eot_id|>",
    "assistant\n\nWe open at 9.",
    "Assistant: We open at 9.",
    "<start_of_turn>model\nWe open at 9.<end_of_turn>",
    "<s>We open at 9.</s>",
    "We open at 9.</s>[INST] And on Sunday? [/INST]",
    "[/INST] We open at 9.",
    "<｜Assistant｜>We open at 9.<｜end▁of▁sentence｜>",
    "We open at 9.<|endoftext|>Human: hi",
    "```markdown\nWe open at 9.\n```",
    "We open at 9.【4:0†hours.pdf】",
    "We open at 9.\ufffd",
    "[colleague] [Colleague] We open at 9.",
    "⟦colleague⟧ We open at 9.",
    "⟦2 hours ago⟧\n\nWe open at 9. ⟦photo",
]
TOOLS = [
    f"We open at 9.\n<tool_call>{CALL}</tool_call>",
    f"<tool_call>\n{CALL}\n</tool_call>\nWe open at 9.",
    f"We open at 9.\n<tool_call>{CALL[:20]}",
    f"We open at 9.\n{CALL}",
    f"We open at 9. {CALL}",
    f"We open at 9.\n{CALL[:-10]}",
    f"We open at 9.\n[{CALL}, {CALL}]",
    f'We open at 9.\n{{"tool_calls": [{CALL}]}}',
    f"We open at 9.[TOOL_CALLS][{CALL}]",
    f"We open at 9.<|python_tag|>{CALL}",
    "<function=get_order>{}</function>We open at 9.",
    '<function_calls><invoke name="x"><parameter name="y">5</parameter></invoke></function_calls>We open at 9.',
    "<｜tool▁calls▁begin｜>x<｜tool▁sep｜>y<｜tool▁calls▁end｜>We open at 9.",
    "Thought: I need the hours.\nAction: hours\nAction Input: {}\nObservation: 9\nFinal Answer: We open at 9.",
    "```tool_code\nprint(hours())\n```\nWe open at 9.",
]


@pytest.mark.parametrize("text", [*REASONING, *CHANNELS, *TEMPLATES, *TOOLS])
def test_what_is_not_the_answer_is_taken_off(text: str) -> None:
    assert clean(text, OFFERED) == "We open at 9."


def test_a_fence_of_the_reasoning_does_not_hide_its_end() -> None:
    assert clean("It wants:\n```\nfoo\n</think>\nLike this:\n```py\nbar()\n```") == "Like this:\n```py\nbar()\n```"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "<think>I have to find out whether",
        "Well, <think>the person wants",
        "only thoughts</think>",
        "<thinking>a</thinking>",
        "<|channel|>analysis<|message|>The user asks",
        "analysisThe user asks",
        "<|im_end|>",
        "<tool_call>" + CALL + "</tool_call>",
        "Let me look, <tool_call>" + CALL,
        CALL,
        "Action: hours\nAction Input: {}",
        f"[{CALL}]",
        f"```json\n{CALL}\n```",
        f"  {CALL[:-8]}",
        '{"type": "function", "function": {"name": "x", "parameters": {}}}',
        "<think></think>\n**\n---",
        "…",
        "\u200b\u200d",
        "\x00\x07\x1b[0m",
        "[colleague] ",
    ],
)
def test_what_is_left_without_an_answer_is_empty(text: str) -> None:
    assert clean(text, OFFERED) == ""


@pytest.mark.parametrize(
    "text",
    [
        "We open at 9.",
        "A model writes `<think>` first, then `</think>`.",
        'The mark "</think>" ends it, and “<|im_end|>” ends the turn.',
        "```\n<think>\nwhat it thinks\n</think>\n<|im_start|>assistant\n```\nThat is how it looks.",
        f"Send `{CALL}` to the server.",
        f"Like this:\n\n```json\n{CALL}\n```",
        f"A body of {CALL} is what it wants.",
        '{"name": "Ana", "age": 40}',
        "HTML has `<b>`, <i>italics</i> and <s>old</s> prices.",
        "The <|im_end|> token ends a turn, and the <answer> tag holds an answer.",
        "1 < 2 > 0 [see below] {x}",
        "I think, therefore <3",
        "Analysis of your order: fine.",
        "The assistant: a person who helps.",
        "```python\nprint(1)\n```",
        "👍",
        "42",
        "€",
        "مرحبا",
    ],
)
def test_what_the_text_is_about_stays(text: str) -> None:
    assert clean(text) == text


MARKS = ["<think>", "</think>", "<final>", "</final>", "<|im_end|>", "<|channel|>", "final", "<tool_call>", CALL, "`"]
MARKS += [
    "```",
    "\n",
    " ",
    "Hello.",
    "assistant",
    "analysis",
    "[colleague]",
    "<|",
    "|>",
    "<",
    "</s>",
    "<s>",
    "[INST]",
    '"',
]
MARKS += ["\ud83d", "\u200d", "\x1b[0m", "�", "<|start|>", "user", "◁think▷", "{", "}", "\u202e", "⟦", "⟧"]
MARKS += ["&lt;think&gt;", "&lt;", "&gt;", "\\<", "<output>", "</output>", "<plan>", "Thought: ", "\nFinal Answer: "]
MARKS += [
    "\nhours()",
    '{"answer": "',
    "[thinking]",
    "[/thinking]",
    "<!-- thinking -->",
    "<answer>",
    "\nUser: a?",
    "\nAI: ",
]
MARKS += ["Reasoning: a\n", "\nAnswer: ", "<analysis>", "</analysis>", "<hours>", "-->", "\nAction Input: x"]
MARKS += ["\ndefault_api.f()", '{"tool": "x"}', "```json\n", "[|user|]", "<|im_user|>"]


@given(st.lists(st.sampled_from(MARKS), max_size=30).map("".join) | st.text(max_size=80))
def test_a_clean_text_is_clean(text: str) -> None:
    once = clean(text, OFFERED)
    assert clean(once, OFFERED) == once
    assert clean(once) == once
    assert once.encode().decode() == once
    assert once == once.strip()


@pytest.mark.parametrize(
    "piece",
    [
        "<think>",
        "</think>",
        "`<",
        "```x\n",
        '{"name":',
        "<|im_start|>",
        "[TOOL_CALLS]",
        "【†",
        "word. ",
        "a <think></think>",
        "a <think> b ",
        "a <user_reply> b",
        "<api_call>\n<a>",
        "<ToolCall> ",
        "a </think>, <think>, ",
        "a: <|x|> = 5 ",
        '{"type": [',
        "<s>",
    ],
)
def test_a_huge_text_takes_linear_time(piece: str) -> None:
    text = piece * (468_000 // len(piece))
    began = time.process_time()
    assert len(clean(text)) <= LONGEST
    assert time.process_time() - began < 3


def test_json_of_any_depth_does_not_break_the_gate() -> None:
    deep = '{"name": ' * 5000
    assert deep.startswith(clean(deep)[:-2])
