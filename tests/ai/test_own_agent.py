"""A user's own Pydantic AI agent: found, checked, and run with our history, deadline and fallback."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from convoq.ai.base import AllowanceSpent, Author
from convoq.errors import ConfigError, RetryLater
from convoq.loopback.dialects import ChatMessage, ToolCall
from convoq.loopback.faults import ModelFault
from convoq.loopback.model import LoopbackModel
from convoq.settings import PersonaSettings
from tests.ai.conftest import Build, Conversation


@pytest.fixture(autouse=True)
def _forget_modules(tmp_path: Path) -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) == str(tmp_path / f"{name}.py"):
            del sys.modules[name]
    if str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))


def own(attribute: str = "agent", module: str = "mybot") -> list[PersonaSettings]:
    return [PersonaSettings(name="shop", agent=f"{module}:{attribute}")]


def write(tmp_path: Path, code: str) -> None:
    (tmp_path / "mybot.py").write_text(f"from pydantic_ai import Agent\n{code}\n")


async def test_own_prompt_and_history_reach_the_model(
    build: Build, model: LoopbackModel, conversation: Conversation, tmp_path: Path
) -> None:
    write(tmp_path, "agent = Agent(system_prompt='You sell boats.', instructions='Be salty.')")
    responder = build(own(), model="qwen", base_url=model.base_url)
    reply = await responder.reply(conversation.context("hi", (Author.AI, "Ahoy"), "boats?", persona="shop"))
    assert reply.text == "You said: boats?"
    asked = model.requests[0]
    assert "You sell boats." in asked.system
    assert "Be salty." in asked.system
    assert "Never make up facts" not in asked.system
    assert [m.text for m in asked.messages if m.role != "system"] == ["hi", "Ahoy", "boats?"]


@pytest.mark.parametrize("name", ["openai:gpt-test", "qwen", "anthropic:claude-test"])
async def test_all_of_an_agents_instructions_are_one_system_message(
    build: Build, model: LoopbackModel, conversation: Conversation, tmp_path: Path, name: str
) -> None:
    write(tmp_path, "agent = Agent(system_prompt=['You sell boats.', 'Only boats.'], instructions=['Be salty.'])")
    responder = build(own(), model=name, base_url=model.base_url)
    await responder.reply(conversation.context("hi", (Author.AI, "Ahoy"), "boats?", persona="shop"))
    assert [message.role for message in model.requests[0].messages] == ["system", "user", "assistant", "user"]
    assert all(part in model.requests[0].system for part in ("sell boats", "Only boats", "salty", "WhatsApp"))


async def test_an_overflow_keeps_the_system_prompt(
    build: Build, model: LoopbackModel, conversation: Conversation, tmp_path: Path
) -> None:
    write(tmp_path, "agent = Agent(system_prompt='You sell boats.')")
    model.fail(ModelFault.OVERFLOW)
    responder = build(own(), model="qwen", base_url=model.base_url)
    await responder.reply(conversation.context("hi", (Author.AI, "Ahoy"), "boats?", persona="shop"))
    shortened = model.requests[1]
    assert "You sell boats." in shortened.system
    [shown] = [m.text for m in shortened.messages if m.role != "system"]
    assert shown == "⟦earlier messages are not shown⟧\n\nboats?"


async def test_own_tools_work_and_every_request_is_recorded(
    build: Build, conversation: Conversation, tmp_path: Path
) -> None:
    write(
        tmp_path,
        "agent = Agent()\n\n@agent.tool_plain\ndef stock(item: str) -> str:\n    return f'{item}: 3 left'",
    )

    def rule(messages: Sequence[ChatMessage]) -> str | ToolCall:
        return f"We have {messages[-1].text}" if messages[-1].role == "tool" else ToolCall("stock", {"item": "oars"})

    async with LoopbackModel(rule) as model:
        responder = build(own(), model="openai:gpt-test", base_url=model.base_url)
        context = conversation.context("oars?", persona="shop")
        reply = await responder.reply(context)
    assert reply.text == "We have oars: 3 left"
    assert context.acted.is_set()
    assert conversation.outcomes == ["ok", "ok"]


async def test_a_failure_after_a_tool_does_not_run_the_tool_again(
    build: Build, other: LoopbackModel, conversation: Conversation, tmp_path: Path
) -> None:
    write(
        tmp_path,
        "runs = []\nagent = Agent()\n\n@agent.tool_plain\ndef book() -> str:\n    runs.append(1)\n    return 'booked'",
    )
    async with LoopbackModel(lambda _: ToolCall("book")) as model:
        model.fail(None, ModelFault.SERVER_ERROR)
        responder = build(
            own(),
            model="openai:gpt-test",
            base_url=model.base_url,
            fallback_model="small",
            fallback_base_url=other.base_url,
        )
        reply = await responder.reply(conversation.context("book it", persona="shop"))
    assert reply.text == "the fallback speaks"
    assert sys.modules["mybot"].runs == [1]


async def test_own_model_comes_before_ai_model(
    build: Build, model: LoopbackModel, other: LoopbackModel, conversation: Conversation, tmp_path: Path
) -> None:
    write(
        tmp_path,
        "from pydantic_ai.models.openai import OpenAIChatModel\n"
        "from pydantic_ai.providers.openai import OpenAIProvider\n"
        f"agent = Agent(OpenAIChatModel('mine', provider=OpenAIProvider(base_url={other.base_url!r})))",
    )
    responder = build(own(), model="qwen", base_url=model.base_url)
    await responder.warm()
    reply = await responder.reply(conversation.context("hi", persona="shop"))
    assert reply.text == "the fallback speaks"
    assert reply.model == "openai:mine"
    assert model.requests == []


async def test_what_an_agents_own_model_thinks_is_not_sent(
    build: Build, conversation: Conversation, tmp_path: Path
) -> None:
    async with LoopbackModel(lambda _: "Boats are here.\n<think>They ask. Let me") as thinking:
        write(
            tmp_path,
            "from pydantic_ai.models.openai import OpenAIChatModel\n"
            "from pydantic_ai.providers.openai import OpenAIProvider\n"
            f"agent = Agent(OpenAIChatModel('mine', provider=OpenAIProvider(base_url={thinking.base_url!r})))",
        )
        reply = await build(own()).reply(conversation.context("boats?", persona="shop"))
    assert reply.text == "Boats are here."


async def test_own_agent_needs_no_ai_model(build: Build, conversation: Conversation, tmp_path: Path) -> None:
    write(tmp_path, "agent = Agent('test')")
    reply = await build(own()).reply(conversation.context("hi", persona="shop"))
    assert reply.text


async def test_an_agent_that_listens_to_events_works(
    build: Build, model: LoopbackModel, conversation: Conversation, tmp_path: Path
) -> None:
    write(
        tmp_path,
        "from pydantic_ai.capabilities import ProcessEventStream\n"
        "seen = []\n\n"
        "async def listen(ctx, events):\n"
        "    async for event in events:\n"
        "        seen.append(event)\n\n"
        "agent = Agent(capabilities=[ProcessEventStream(listen)])",
    )
    reply = await build(own(), model="qwen", base_url=model.base_url).reply(conversation.context("hi", persona="shop"))
    assert reply.text == "You said: hi"
    assert sys.modules["mybot"].seen


async def test_a_tool_that_hangs_ends_with_the_turn(build: Build, conversation: Conversation, tmp_path: Path) -> None:
    write(
        tmp_path,
        "import asyncio\nagent = Agent()\n\n"
        "@agent.tool_plain\nasync def wait() -> str:\n    await asyncio.Event().wait()",
    )
    async with LoopbackModel(lambda _: ToolCall("wait")) as model:
        responder = build(own(), model="qwen", base_url=model.base_url, timeout=0.2)
        await responder.warm()
        with pytest.raises(RetryLater, match="no reply in time"):
            await responder.reply(conversation.context("hi", persona="shop"))


async def test_a_loop_of_tool_calls_ends(build: Build, conversation: Conversation, tmp_path: Path) -> None:
    write(tmp_path, "agent = Agent()\n\n@agent.tool_plain\ndef again() -> str:\n    return 'again'")
    async with LoopbackModel(lambda _: ToolCall("again")) as model:
        responder = build(own(), model="qwen", base_url=model.base_url)
        with pytest.raises(AllowanceSpent, match="came to no end"):
            await responder.reply(conversation.context("hi", persona="shop"))
    assert len(conversation.calls) == 6


async def test_an_error_of_a_tool_is_not_hidden(build: Build, conversation: Conversation, tmp_path: Path) -> None:
    write(tmp_path, "agent = Agent()\n\n@agent.tool_plain\ndef sell() -> str:\n    raise KeyError('no boats')")
    async with LoopbackModel(lambda _: ToolCall("sell")) as model:
        with pytest.raises(KeyError, match="no boats"):
            await build(own(), model="qwen", base_url=model.base_url).reply(conversation.context("hi", persona="shop"))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import nothing_like_this\nagent = 1", r"No module named 'nothing_like_this' \(.*mybot.py:2\)"),
        ("agent = 1 / 0", r"ZeroDivisionError: division by zero \(.*mybot.py:2\)"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise ValueError('one\\ntwo')", r"ValueError: one \(.*mybot.py:2\)"),
        ("agent = 'a string'", "is a str, not a pydantic_ai.Agent"),
        ("bot = Agent('test')", "has no attribute 'agent'"),
        ("agent = Agent('test', output_type=int)", "its output_type is int; a reply is a str"),
        ("agent = Agent('test', deps_type=dict)", "its deps_type is dict; convoq runs agents without deps"),
        ("agent = Agent()", r"it has no model; give it one or set ai\.model"),
        ("agent = Agent('nobody:knows', defer_model_check=True)", "its model cannot be used: Unknown model"),
    ],
)
async def test_an_unusable_agent_is_one_clear_line(build: Build, tmp_path: Path, code: str, message: str) -> None:
    write(tmp_path, code)
    with pytest.raises(ConfigError, match=message) as caught:
        await build(own()).warm()
    assert str(caught.value).startswith('personas.shop.agent "mybot:agent": ')
    assert "\n" not in str(caught.value)


async def test_a_missing_module_is_one_clear_line(build: Build) -> None:
    with pytest.raises(ConfigError, match=r'personas.shop.agent "nowhere:agent": cannot be imported: .*nowhere'):
        await build(own(module="nowhere")).warm()


async def test_an_answer_that_an_agent_emptied_is_tried_again_later(
    build: Build, model: LoopbackModel, conversation: Conversation, tmp_path: Path
) -> None:
    write(
        tmp_path, "agent = Agent()\n\n@agent.output_validator\ndef hide(text: str) -> str:\n    return ' [Colleague] '"
    )
    with pytest.raises(RetryLater, match="persona shop: its answer is empty"):
        await build(own(), model="qwen", base_url=model.base_url).reply(conversation.context("hi", persona="shop"))
