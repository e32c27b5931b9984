"""What a model may do instead of answering: asked directly and as an agent of the user's, in each dialect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from convoq.ai.base import Act, HandoverReason, HandoverRequest, Responder, Useless
from convoq.loopback.dialects import ChatMessage, ToolCall
from convoq.loopback.faults import ModelFault
from convoq.loopback.model import LoopbackModel
from convoq.settings import PersonaSettings
from tests.ai.conftest import Build, Conversation

DIALECTS = ["openai:gpt-test", "anthropic:claude-test", "llama3.2:3b"]
ALL = frozenset(Act)
SENTENCE = "A colleague will look into your invoice and answer you here."
HANDS_OVER = ToolCall("hand_over", {"reason": "complaint", "sentence": SENTENCE, "note": "charged twice"})
SPEECHLESS = ToolCall("hand_over", {"reason": "complaint", "sentence": " "})


def script(model: LoopbackModel, *answers: str | ToolCall) -> None:
    """The model's answers, one after the other; the last of them for ever."""
    left = list(answers)

    def reply(_: Sequence[ChatMessage]) -> str | ToolCall:
        return left.pop(0) if len(left) > 1 else left[0]

    model.reply = reply


PersonaOf = Callable[..., Responder]


@pytest.fixture(params=["direct", "agent"])
def persona(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """How the model is asked: "direct", or by an agent that has a tool of its own."""
    (tmp_path / f"acting_{request.param}.py").write_text(
        "from pydantic_ai import Agent\n"
        "from convoq.ai.prompt import DEFAULT_PROMPT\n"
        "agent = Agent(instructions=DEFAULT_PROMPT)\n"
    )
    return str(request.param)


@pytest.fixture(params=DIALECTS)
def responder(request: pytest.FixtureRequest, build: Build, model: LoopbackModel, persona: str) -> Responder:
    own = [PersonaSettings(name="agent", agent=f"acting_{persona}:agent"), PersonaSettings(name="direct")]
    return build(own, model=request.param, base_url=model.base_url, api_key="k")


async def test_a_model_hands_over_with_a_sentence(
    responder: Responder, model: LoopbackModel, conversation: Conversation, persona: str
) -> None:
    script(model, HANDS_OVER)
    context = conversation.context("I was charged twice!", persona=persona, acts=ALL)
    reply = await responder.reply(context)
    assert reply.text == SENTENCE
    assert reply.handover == HandoverRequest(HandoverReason.COMPLAINT, "charged twice")
    assert conversation.outcomes == ["ok"]
    assert not context.acted.is_set()


async def test_no_sentence_is_refused_to_the_model_once(
    responder: Responder, model: LoopbackModel, conversation: Conversation, persona: str
) -> None:
    script(model, SPEECHLESS, HANDS_OVER)
    reply = await responder.reply(conversation.context("charged twice!", persona=persona, acts=ALL))
    assert (reply.text, reply.handover is not None, len(model.requests)) == (SENTENCE, True, 2)
    assert "`sentence` is empty" in model.requests[1].messages[-1].text


async def test_no_sentence_for_the_second_time_is_a_hand_over_all_the_same(
    responder: Responder, model: LoopbackModel, conversation: Conversation, persona: str
) -> None:
    script(model, SPEECHLESS)
    reply = await responder.reply(conversation.context("charged twice!", persona=persona, acts=ALL))
    assert (reply.text, len(model.requests)) == ("", 2)
    assert reply.handover == HandoverRequest(HandoverReason.COMPLAINT)


async def test_what_the_model_says_instead_of_calling_again_is_the_sentence(
    responder: Responder, model: LoopbackModel, conversation: Conversation, persona: str
) -> None:
    script(model, SPEECHLESS, SENTENCE)
    reply = await responder.reply(conversation.context("charged twice!", persona=persona, acts=ALL))
    assert (reply.text, reply.handover is not None) == (SENTENCE, True)


@pytest.mark.parametrize(
    "arguments",
    [
        {"reason": "angry", "sentence": SENTENCE},
        {"sentence": SENTENCE},
        {"reason": 7, "sentence": SENTENCE, "note": ["x"], "more": None},
    ],
)
async def test_arguments_of_the_wrong_shape_do_not_stop_a_hand_over(
    responder: Responder, model: LoopbackModel, conversation: Conversation, persona: str, arguments: dict[str, object]
) -> None:
    script(model, ToolCall("hand_over", arguments))
    reply = await responder.reply(conversation.context("hello", persona=persona, acts=ALL))
    assert (reply.text, reply.handover) == (SENTENCE, HandoverRequest(HandoverReason.OTHER))


async def test_a_sentence_passes_the_gate_of_every_text_of_a_model(
    responder: Responder, model: LoopbackModel, conversation: Conversation, persona: str
) -> None:
    script(model, ToolCall("hand_over", {"reason": "asked", "sentence": f"<think>rude!</think>{SENTENCE}"}))
    reply = await responder.reply(conversation.context("hello", persona=persona, acts=ALL))
    assert reply.text == SENTENCE


async def test_without_the_offer_a_model_hears_nothing_of_tools_or_colleagues(
    responder: Responder, model: LoopbackModel, conversation: Conversation, persona: str
) -> None:
    await responder.reply(conversation.context("hello", persona=persona))
    [asked] = model.requests
    assert "tools" not in asked.body
    assert "hand_over" not in asked.system


@pytest.mark.parametrize("name", DIALECTS)
async def test_the_request_with_tools_is_the_one_of_an_agent(
    build: Build, model: LoopbackModel, conversation: Conversation, tmp_path: Path, name: str
) -> None:
    code = "from pydantic_ai import Agent\nfrom convoq.ai.prompt import DEFAULT_PROMPT\n"
    (tmp_path / "same_agent.py").write_text(f"{code}agent = Agent(instructions=DEFAULT_PROMPT)\n")
    responder = build([PersonaSettings(name="own", agent="same_agent:agent")], model=name, base_url=model.base_url)
    for persona in ("own", "default"):
        await responder.reply(conversation.context("hello", persona=persona, acts=ALL))
    by_agent, asked = model.requests
    assert asked.body == by_agent.body
    assert asked.body["tools"]


async def test_a_tool_of_the_agents_own_that_has_the_name_stays_the_agents(
    build: Build, model: LoopbackModel, conversation: Conversation, tmp_path: Path
) -> None:
    (tmp_path / "handing_agent.py").write_text(
        "from pydantic_ai import Agent\nagent = Agent()\n\n\n"
        "@agent.tool_plain\ndef hand_over(reason: str, sentence: str) -> str:\n    return 'done by the agent'\n"
    )
    script(model, HANDS_OVER, "I have told my colleague.")
    responder = build(
        [PersonaSettings(name="own", agent="handing_agent:agent")], model="openai:x", base_url=model.base_url
    )
    context = conversation.context("hello", persona="own", acts=ALL)
    reply = await responder.reply(context)
    assert (reply.text, reply.handover) == ("I have told my colleague.", None)
    assert context.acted.is_set()


async def test_a_model_that_takes_no_tools_answers_without_them(
    build: Build, model: LoopbackModel, conversation: Conversation
) -> None:
    model.fail(ModelFault.NO_TOOLS)
    responder = build(model="openai:x", base_url=model.base_url)
    for _ in range(2):
        assert (await responder.reply(conversation.context("hello", acts=ALL))).text == "You said: hello"
    assert ["tools" in request.body for request in model.requests] == [True, False, False]


async def test_a_tool_that_nobody_offered_is_no_answer(
    build: Build, model: LoopbackModel, conversation: Conversation
) -> None:
    script(model, ToolCall("stock"))
    with pytest.raises(Useless, match="it called a tool, and was given none"):
        await build(model="openai:x", base_url=model.base_url).reply(conversation.context("hello", acts=ALL))


async def test_a_call_that_is_written_as_text_is_asked_for_again(
    responder: Responder, model: LoopbackModel, conversation: Conversation, persona: str
) -> None:
    script(model, 'hand_over(reason="complaint", sentence="Soon.")', "We open at 9.")
    reply = await responder.reply(conversation.context("when?", persona=persona, acts=ALL))
    assert (reply.text, reply.handover) == ("We open at 9.", None)


async def test_what_calls_no_tool_that_was_offered_is_the_answer(
    responder: Responder, model: LoopbackModel, conversation: Conversation, persona: str
) -> None:
    text = 'Use this body.\n{"name": "Widget", "parameters": {"size": "L"}}'
    script(model, text)
    assert (await responder.reply(conversation.context("how?", persona=persona, acts=ALL))).text == text
