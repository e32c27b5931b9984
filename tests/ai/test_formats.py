"""The formats in which models write what they think and call, where no server takes that out."""

from __future__ import annotations

import time

import pytest

from convoq.ai.reply import LONGEST, clean

ANSWER = "We open at 9."
TOOLS = ("get_order", "hours", "hand_over")
CALL = '{"name": "get_order", "arguments": {"id": 17}}'

THOUGHTS = [
    "<reasoning_content>They ask for hours.</reasoning_content>\n\nWe open at 9.",
    "<Thinking>They ask.</Thinking>\n\nWe open at 9.",
    "They ask.</thought_process>We open at 9.",
    "We open at 9.\n<self_reflection>\nok?\n</self_reflection>",
    "The user asks for hours </think> We open at 9.",
    "<thought_process>\n1. They ask.\n</thought_process>\nWe open at 9.",
    "<thinking_process>a</thinking_process><output>We open at 9.</output>",
    "<thoughtProcess>a</thoughtProcess>We open at 9.",
    "<internal_monologue>a</internal_monologue>We open at 9.",
    "<plan>a</plan>\nWe open at 9.",
    "<self_check>They ask.</self_check>We open at 9.",
    "<scratch_pad>a</scratch_pad>We open at 9.",
    "<thinking>I put it in <output> tags. Then</thinking>We open at 9.",
    "Thinking Process:\n\n1. **Analyze the Request**\n\n</think>\n\nWe open at 9.",
]
WRAPPERS = [
    "<output>We open at 9.</output>",
    "<output>\nWe open at 9.",
    "<final_response>We open at 9.</final_response> That was it.",
    "Let me see. <assistant_response>We open at 9.</assistant_response>",
    "<reply_to_customer>We open at 9.</reply_to_customer>",
    "<solution>We open at 9.</solution>",
    "<analysis>They ask.</analysis>\n<customer_message>\nWe open at 9.\n</customer_message>",
    "<text>We open at 9.</text>",
    "<antwort>We open at 9.</antwort>",
    "I will answer now <final>We open at 9.</final>",
    "Let me see.\n<answer>We open at 9.</answer>",
    "<think>a</think><response>We open at 9.",
]
FENCED_AND_LABELLED = [
    "```thinking\nThey ask.\n```\nWe open at 9.",
    "~~~reasoning\nThey ask:\n~~~\n\nWe open at 9.",
    "[thinking]They ask.[/thinking]\nWe open at 9.",
    "[THINKING]\nThey ask.\n[/THINKING]\n\nWe open at 9.",
    "[internal]They ask.[/internal]We open at 9.",
    "They ask.\n[/reasoning]\nWe open at 9.",
    "<!-- thinking: they ask -->\nWe open at 9.",
    "<!-- thinking -->\nThey ask.\n<!-- /thinking -->\nWe open at 9.",
    "<!-- reasoning -->\nThey ask.\n<!-- end reasoning -->\nWe open at 9.",
    "<!-- they are angry -->\nWe open at 9.",
    "<denken>a</denken>\nWe open at 9.",
    "<razonamiento>a</razonamiento>We open at 9.",
    "<思考>a</思考>\nWe open at 9.",
    "<analysis>\nThey ask.\n</analysis>\nWe open at 9.",
    "They ask.\n</analysis>\nWe open at 9.",
    "Reasoning: they ask.\nAnswer: We open at 9.",
    "**Reasoning:** they ask.\n\n**Answer:** We open at 9.",
    "## Thought process: a\nb\n## Final answer: We open at 9.",
    "Überlegung: er fragt.\nAntwort: We open at 9.",
    "Razonamiento: pregunta.\n\nRespuesta: We open at 9.",
    "Raisonnement : il demande.\nRéponse : We open at 9.",
]
FORMS = [
    '{"answer": "We open at 9."}',
    '{"reasoning": "They ask.", "answer": "We open at 9."}',
    '{"thoughts": ["a", "b"], "final_answer": "We open at 9."}',
    '```json\n{"answer": "We open at 9."}\n```',
    '{"response": "We open at 9.", "confidence": 0.9}',
    '{"reply_to_customer": "We open at 9.", "language": "en"}',
    '{"role": "assistant", "content": "We open at 9."}',
    '{"message": "We open at 9."}',
    '{"antwort": "We open at 9."}',
    '{"action": "Final Answer", "action_input": "We open at 9."}',
    '{"answer": "We open at 9.',
    '{"thought": "They ask.", "answer": "We open at 9.',
    '<think>a</think>{"answer": "We open at 9."}',
]
DIALOGUES = [
    "We open at 9.\n\nUser: And on Sunday?\nAssistant: Closed.",
    "We open at 9.\nHuman: And on Sunday?\nAI: Closed.\nHuman: ok, thanks for that",
    "We open at 9.\n\n**Customer:** And on Sunday?\n**Assistant:** Closed.",
    "We open at 9.\n\nNutzer: Und am Sonntag?\nAssistent: Geschlossen.",
    "We open at 9.\n\nUsuario: ¿Y el domingo?\nAsistente: Cerrado.",
    "We open at 9.\n\nUser: And on Sunday?",
    "User: When do you open?\nAssistant: We open at 9.",
    "Assistant: We open at 9.\nUser: And on Sunday?\nAssistant: Closed.",
]
REACT = [
    "Thought: I now know it.\nFinal Answer: We open at 9.",
    "Thought: Do I need a tool? No\n**Final Answer:** We open at 9.",
    "**Thought:** They ask.\n\n**Answer:** We open at 9.",
    "Question: When?\nThought: I know.\nFinal Answer: We open at 9.",
]
CALLS = [
    'We open at 9.\n{"tool": "hours", "tool_input": {"day": 1}}',
    'We open at 9.\n{"tool": "hours"}',
    'We open at 9.\n{"recipient_name": "functions.hours", "parameters": {}}',
    'We open at 9.\n{"tool_uses": [{"recipient_name": "functions.hours", "parameters": {}}]}',
    'We open at 9.\n{"function_name": "hours", "function_args": {}}',
    'We open at 9. {"action": "hours", "action_input": "Monday"}',
    'We open at 9.\n{"tool": "hours", "tool_input": {"da',
    'We open at 9.\nprint(default_api.hours(day="Monday"))',
    "We open at 9.\ndefault_api.hours()",
    'We open at 9.\nfunctions.hours({"day": "Monday"})',
    f"We open at 9.\n```json\n{CALL}\n```",
    f"We open at 9.\n\n```\n{CALL[:-9]}",
    "We open at 9.\n```python\nprint(default_api.hours())\n```",
    "We open at 9.\nget_order(id=17)",
    "get_order(id=17)\n\nWe open at 9.",
    "We open at 9.\norder = await get_order(id=17);",
    "Calling get_order(id=17)\nWe open at 9.",
    "We open at 9.\nTool call: get_order(id=17)",
    'We open at 9.\n{"get_order": {"id": 17}}',
    'We open at 9.\nget_order {"id": 17}',
    'We open at 9.\nget_order: {"id": 17}',
    'We open at 9.\n{"name": "get_order", "parameters": {"id": 17}}',
    'We open at 9.\n{"type": "tool_use", "name": "get_order", "input": {"id": 17}}',
    'We open at 9.\n{"name": "get_order", "parameters": {"id',
    "<get_order>\n<id>17</id>\n</get_order>\nWe open at 9.",
    'We open at 9.\n<get_order id="17" />',
    "We open at 9.\n```python\nget_order(id=17)\n```",
    "We open at 9.\nAction: get_order\nAction Input: {}",
    'We open at 9.\nhand_over(reason="asked", sentence="A colleague will write.")',
]
ESCAPED = [
    "&lt;think&gt;a&lt;/think&gt;We open at 9.",
    "&#60;think&#62;a&#x3C;/think&#x3E;We open at 9.",
    "\\<think\\>a\\</think\\>We open at 9.",
    "＜think＞a＜/think＞We open at 9.",
    "&lt;|channel|&gt;analysis&lt;|message|&gt;a&lt;|end|&gt;&lt;|start|&gt;assistant&lt;|channel|&gt;final"
    "&lt;|message|&gt;We open at 9.",
]
MODELS = {
    "apertus": "<|inner_prefix|>a<|inner_suffix|>We open at 9.<|assistant_end|><|user_start|>And?<|user_end|>",
    "cohere": "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>We open at 9.<|END_OF_TURN_TOKEN|><|USER_TOKEN|>And?",
    "deepseek 3.2": 'We open at 9.<｜DSML｜function_calls>\n<｜DSML｜invoke name="x">\n</｜DSML｜invoke>\n'
    "</｜DSML｜function_calls>",
    "exaone": "[|assistant|]We open at 9.[|endofturn|]\n[|user|]And?",
    "glm": "<tool_call>get_hours\n<arg_key>day</arg_key>\n<arg_value>1</arg_value>\n</tool_call>We open at 9.",
    "granite": "<|start_of_role|>assistant<|end_of_role|>We open at 9.<|end_of_text|>",
    "hunyuan": "<｜hy_Assistant｜>We open at 9.<｜hy_User｜>And?",
    "kimi": "<|im_assistant|>assistant<|im_middle|>We open at 9.<|im_end|>",
    "kimi's calls": "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{}"
    "<|tool_call_end|><|tool_calls_section_end|>We open at 9.",
    "lfm": "<|tool_call_start|>[hours(day=1)]<|tool_call_end|>We open at 9.",
    "llama 4": "<|header_start|>assistant<|header_end|>\n\nWe open at 9.<|eot|><|header_start|>user<|header_end|>And?",
    "minimax": '<minimax:tool_call>\n<invoke name="x">\n</invoke>\n</minimax:tool_call>We open at 9.',
    "nemotron, cut off": 'We open at 9.<TOOLCALL>[{"na',
    "nemotron": "We open at 9.<TOOLCALL>[{}]</TOOLCALL>",
    "qwen coder": "<tool_call>\n<function=hours>\n<parameter=day>\n1\n</parameter>\n</function>\n</tool_call>\n"
    "We open at 9.",
    "seed": "<seed:think>a</seed:think>We open at 9.",
    "solar": "<|begin|>assistant<|think|>a<|end|><|begin|>assistant<|content|>We open at 9.<|end|>",
}


@pytest.mark.parametrize(
    "text", [*THOUGHTS, *WRAPPERS, *FENCED_AND_LABELLED, *FORMS, *DIALOGUES, *REACT, *CALLS, *ESCAPED, *MODELS.values()]
)
def test_the_answer_alone_is_left(text: str) -> None:
    assert clean(text, TOOLS) == ANSWER


@pytest.mark.parametrize(
    "text",
    [
        "<reasoning_content>They ask for",
        "<thought_process>\nThey ask.",
        "&lt;think&gt;They ask",
        "Thought: they ask for hours.",
        "Thought: they ask.\nAction: hours(day='Monday')",
        'Action: ```json\n[{"tool_name": "hours", "parameters": {}}]\n```',
        '{"tool": "hours", "tool_input": "Monday"}',
        '{"recipient_name": "functions.hours", "parameters": {}}',
        'functools[{"name": "hours", "arguments": {}}]',
        "[hours(day='Monday'), hours(day='Sunday')]",
        "print(default_api.hours())",
        "```python\nprint(default_api.hours())\n```",
        "get_order(id=17)",
        "[get_order(id=17)]",
        '{"get_order": {"id": 17}}',
        '{"name": "find_order", "parameters": {"id": 17}}',
        "<get_order><id>17",
        "```thinking\nThey ask",
        "[thinking]\nThey ask",
        "<analysis>They ask",
        "Reasoning: the user asks for",
        "Überlegung: Der Kunde fragt nach",
        '{"reasoning": "They ask',
        '{"answer": ""}',
    ],
)
def test_what_holds_no_answer_is_empty(text: str) -> None:
    assert clean(text, TOOLS) == ""


@pytest.mark.parametrize(
    "text",
    [
        "<output> is an HTML element, and `<output>` stands in code.",
        "The <output> element shows a result, and <hidden> is none.",
        "Write &lt;b&gt; for bold and &lt;p&gt; for a paragraph.",
        "Write `&lt;think&gt;` like so.",
        "The page begins with <article>, then comes a <section>.\n<br>",
        "Question 3: What is two and two?\nFinal Answer: 4",
        "Final Answer: 42",
        "Thought of the day: be kind.",
        "Thoughts: we could meet on Monday.",
        "Put it in a <message> of your own, like <text>this</text>.",
        "Analysis: your order is fine.\nAnswer: yes, it ships today.",
        'Set this in the file:\n{"debug": true}',
        f"Like this:\n\n```json\n{CALL}\n```",
        f"Send this.\n```json\n{CALL}\n```\nIt answers 200.",
        '```json\n{"name": "Ana", "email": "a@ex.com"}\n```',
        "```python\nfunctions.hours()\nprint(1)\n```",
        "Our functions.\nSee tools.md for more.",
        "1 &lt; 2 and 3 &gt; 2",
        "[x] done, [y(1)] open",
    ],
)
def test_what_the_text_is_about_stays(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    "piece",
    [
        *('\n{"a":', "<plan>\n", "&lt;", "\\<a", "Thought: \n", "\nfunctions.x(", "[a(", '`a` \n{"a":1}', "<a_a_"),
        *(
            "<analysis>\n",
            "</analysis>\n",
            "<answer> ",
            "[thinking]\n",
            "<!-- thinking -->\n",
            "<!--",
            "-->",
            "\nUser: a?",
        ),
        *(
            "Reasoning: a\n",
            '{"answer": "',
            '{"reasoning": "a", ',
            "\nhours(",
            "<hours>",
            "```thinking\n",
            "\nAction: hours\n",
        ),
        *("\nAI: a?", "\n<!-- /thinking -->", '"a\\', "{ } "),
    ],
)
def test_a_huge_text_takes_linear_time(piece: str) -> None:
    text = piece * (468_000 // len(piece))
    began = time.process_time()
    assert len(clean(text, TOOLS)) <= LONGEST
    assert time.process_time() - began < 3


@pytest.mark.parametrize(
    "text",
    [
        "Use List<Action> for handlers, and Map<String, Response> for the rest.",
        "const x = useState<Plan>();\nThen render it.",
        "Return Task<Response> from the handler. Then call it.",
        "In our XML feed, <action>delete</action> removes an item and <action>add</action> adds one.",
        "<plan>Basic</plan> costs 9 EUR and <plan>Pro</plan> 19 EUR.",
        "Wrap it in <output> tags:\n\n<output>42</output>\n\nThen save.",
        "Choose <Hidden> under View. Then save.",
        "SOAP: <soap:Action>x</soap:Action> is needed. Then post.",
        "<message>a</message> <message>b</message>",
        '```json\n{"action": "refund"}\n```',
        'Here is the payload.\n\n{"action": "refund"}\n\nPost it to /v1/refunds.',
        'Config:\n{"tool": "hammer"}\nThanks',
        'Here you go.\n```json\n{"name": "Widget", "input": "L"}\n```',
        "tools.map(x => x.name)",
        "Thought: I'd go with the blue one. It matches your kitchen.",
        "Thoughts: I'd go with the blue one.\nAnswer: yes, in stock.",
    ],
)
def test_what_only_looks_like_a_models_marks_is_left_whole(text: str) -> None:
    assert clean(text) == text
