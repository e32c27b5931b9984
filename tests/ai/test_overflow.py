"""A model with little room: it is shown half as much until it answers, and told what it could not read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from convoq.ai.base import Author
from convoq.ai.context import CUT_MARK
from convoq.errors import Unrecoverable
from convoq.loopback.dialects import ChatMessage, RecordedRequest, ToolCall
from convoq.loopback.faults import ModelFault
from convoq.loopback.model import LoopbackModel
from convoq.settings import PersonaSettings
from tests.ai.conftest import Build, Conversation

LM_STUDIO = 4096

pytestmark = pytest.mark.parametrize("name", ["openai:gpt-test", "anthropic:claude-test", "llama3.2:3b"])


@pytest.fixture
async def small() -> AsyncIterator[LoopbackModel]:
    async with LoopbackModel(lambda _: "We open at 9.", context_tokens=LM_STUDIO) as model:
        yield model


def talk(request: RecordedRequest) -> list[str]:
    return [message.text for message in request.messages if message.role != "system"]


async def test_older_lines_go_first(build: Build, model: LoopbackModel, conversation: Conversation, name: str) -> None:
    model.fail(ModelFault.OVERFLOW, ModelFault.OVERFLOW, ModelFault.OVERFLOW)
    lines = [(Author.AI if n % 2 else Author.CONTACT, f"line {n}") for n in range(8)]
    reply = await build(model=name, base_url=model.base_url).reply(conversation.context(*lines, "and now?"))
    assert reply.text.endswith("and now?")
    assert conversation.outcomes == ["permanent", "permanent", "permanent", "ok"]
    unshown = "⟦earlier messages are not shown⟧"
    assert [talk(request) for request in model.requests] == [
        [*(f"line {n}" for n in range(8)), "and now?"],
        [unshown, "line 5", "line 6", "line 7", "and now?"],
        [unshown, "line 7", "and now?"],
        [f"{unshown}\n\nand now?"],
    ]


async def test_a_message_of_64_kib_is_answered(
    build: Build, small: LoopbackModel, conversation: Conversation, name: str
) -> None:
    text = "Dear shop, " + "ä" * 32_000 + " what does it cost?"
    responder = build(model=name, base_url=small.base_url)
    assert (await responder.reply(conversation.context(text))).text == "We open at 9."
    [asked] = talk(small.requests[-1])
    assert asked.startswith("Dear shop, ")
    assert CUT_MARK in asked
    assert asked.endswith(" what does it cost?")


async def test_a_burst_larger_than_the_model_is_answered_from_its_end(
    build: Build, conversation: Conversation, name: str
) -> None:
    burst = [f"{n}: {'word ' * 300}" for n in range(60)]
    async with LoopbackModel(lambda _: "We open at 9.", context_tokens=8192) as model:
        responder = build(model=name, base_url=model.base_url)
        assert (await responder.reply(conversation.context(*burst))).text == "We open at 9."
    [asked] = talk(model.requests[-1])
    [note, *read] = asked.split("\n\n")
    assert read == burst[-len(read) :]
    assert note.startswith(f"⟦{60 - len(read)} messages before the next did not fit and could not be read")
    assert len(read) > 5


async def test_a_long_talk_is_answered_by_a_default_lm_studio(
    build: Build, small: LoopbackModel, conversation: Conversation, name: str
) -> None:
    lines = [(Author.AI if n % 2 else Author.CONTACT, f"{n}: {'wörter ' * 30}") for n in range(100)]
    responder = build(model=name, base_url=small.base_url)
    assert (await responder.reply(conversation.context(*lines, "and now?"))).text == "We open at 9."
    assert talk(small.requests[-1])[-1] == "and now?"
    assert len(talk(small.requests[-1])) > 10


async def test_of_what_fits_no_more_the_newest_message_is_shortened(
    build: Build, conversation: Conversation, name: str
) -> None:
    async with LoopbackModel(lambda _: "We open at 9.", context_tokens=1000) as model:
        responder = build(model=name, base_url=model.base_url, max_output_tokens=300)
        lines = ["first " * 300, f"second {'x' * 3000} how much?"]
        assert (await responder.reply(conversation.context(*lines))).text == "We open at 9."
    [asked] = talk(model.requests[-1])
    assert asked.startswith("⟦1 message before the next did not fit")
    assert "second x" in asked
    assert CUT_MARK in asked
    assert asked.endswith("how much?")


async def test_when_nothing_fits_the_reason_says_what_to_lower(
    build: Build, model: LoopbackModel, conversation: Conversation, name: str
) -> None:
    model.mode = ModelFault.OVERFLOW
    with pytest.raises(Unrecoverable, match=r"lower ai\.history_tokens"):
        await build(model=name, base_url=model.base_url).reply(conversation.context("x" * 20_000))
    assert len(model.requests) < 8


async def test_a_fallback_with_more_room_is_shown_all(
    build: Build, other: LoopbackModel, conversation: Conversation, name: str
) -> None:
    lines = [(Author.AI if n % 2 else Author.CONTACT, f"line {n}") for n in range(20)]
    async with LoopbackModel(context_tokens=900) as model:
        responder = build(model=name, base_url=model.base_url, fallback_model="s", fallback_base_url=other.base_url)
        assert (await responder.reply(conversation.context(*lines, "and now?"))).text == "the fallback speaks"
    assert talk(other.requests[0])[0] == "line 0"


async def test_what_tools_have_done_stays_in_view(
    build: Build, conversation: Conversation, tmp_path: Path, name: str
) -> None:
    module = f"small_{len(name)}"
    code = "from pydantic_ai import Agent\nruns = []\nagent = Agent(system_prompt='You sell boats.')\n\n"
    code += "@agent.tool_plain\ndef book() -> str:\n    runs.append(1)\n    return 'booked'\n"
    (tmp_path / f"{module}.py").write_text(code)

    def rule(messages: Sequence[ChatMessage]) -> str | ToolCall:
        return "It is booked." if "booked" in messages[-1].text else ToolCall("book")

    async with LoopbackModel(rule) as model:
        model.fail(ModelFault.OVERFLOW, None, ModelFault.OVERFLOW)
        responder = build([PersonaSettings(name="shop", agent=f"{module}:agent")], model=name, base_url=model.base_url)
        lines = [(Author.AI if n % 2 else Author.CONTACT, f"line {n}") for n in range(8)]
        reply = await responder.reply(conversation.context(*lines, "book it", persona="shop"))
    assert reply.text == "It is booked."
    shown = [[text for text in talk(request) if text] for request in model.requests]
    assert [len(texts) for texts in shown] == [9, 5, 6, 4]
    assert shown[3][-2:] == ["book it", "booked"]
    assert all("You sell boats." in request.system for request in model.requests)


async def test_a_history_that_an_agent_has_rewritten_does_not_come_back(
    build: Build, model: LoopbackModel, conversation: Conversation, tmp_path: Path, name: str
) -> None:
    module = f"redacting_{len(name)}"
    code = "from dataclasses import replace\nfrom pydantic_ai import Agent\n"
    code += "from pydantic_ai.capabilities import ProcessHistory\nfrom pydantic_ai.messages import ModelRequest\n\n"
    code += "def redact(messages):\n    first = messages[0]\n    part = replace(first.parts[0], content='***')\n"
    code += "    return [replace(first, parts=[part]), *messages[1:]] if len(messages) > 1 else messages\n\n"
    code += "agent = Agent(capabilities=[ProcessHistory(redact)])\n"
    (tmp_path / f"{module}.py").write_text(code)
    model.fail(ModelFault.OVERFLOW)
    responder = build([PersonaSettings(name="shop", agent=f"{module}:agent")], model=name, base_url=model.base_url)
    context = conversation.context("my card is 4111", (Author.AI, "Noted. " * 40), "open?", persona="shop")
    await responder.reply(context)
    assert [talk(request)[0] for request in model.requests] == ["***", "open?"]
