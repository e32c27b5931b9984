"""A user's own agent, its tools and the agents that those ask cost a message no more than convoq's own requests do."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from convoq.ai import build_responder
from convoq.ai.base import AllowanceSpent
from convoq.ai.responder import PersonaResponder
from convoq.conversations.states import Outcome
from convoq.loopback.dialects import ChatMessage, ToolCall
from convoq.loopback.faults import ModelFault
from convoq.loopback.model import LoopbackModel
from convoq.settings import AiSettings, PersonaSettings
from tests.handlers.answer.test_what_a_message_costs import HOUR, limits
from tests.handlers.house import MAX_OUTPUT_TOKENS, MAX_REQUESTS, House

HEAD = """
import asyncio
import httpx2
from pydantic_ai import Agent, ModelSettings
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

client = httpx2.AsyncClient()

def helper_of(client: httpx2.AsyncClient) -> Agent:
    provider = OpenAIProvider(base_url="BASE_URL", api_key="k", http_client=client)
    return Agent(OpenAIChatModel("gpt-nested", provider=provider))

helper = helper_of(client)
agent = Agent()
"""
ASKS_ONE_AFTER_THE_OTHER = """
@agent.tool_plain
async def research(topic: str) -> str:
    for number in range(50):
        await helper.run(f"{topic} {number}")
    return "done"
"""
ASKS_ALL_AT_ONCE = """
@agent.tool_plain
async def research(topic: str) -> str:
    await asyncio.gather(*(helper.run(f"{topic} {number}") for number in range(50)), return_exceptions=True)
    return "done"
"""
ASKS_FROM_A_THREAD = """
@agent.tool_plain
def research(topic: str) -> str:
    for number in range(50):
        asyncio.run(ask(f"{topic} {number}"))
    return "done"

async def ask(question: str) -> None:
    async with httpx2.AsyncClient() as own:
        await helper_of(own).run(question)
"""
ASKS_AS_A_STREAM = """
@agent.tool_plain
async def research(topic: str) -> str:
    for number in range(50):
        async with helper.run_stream(f"{topic} {number}") as streamed:
            await streamed.get_output()
    return "done"
"""
SWALLOWS_ERRORS = """
@agent.tool_plain
async def research(topic: str) -> str:
    for number in range(50):
        try:
            await helper.run(f"{topic} {number}")
        except Exception:
            pass
    return "done"
"""
ASKS_WITH_THE_SAME_MODEL = """
from pydantic_ai import RunContext

@agent.tool
async def research(ctx: RunContext[None], topic: str) -> str:
    for number in range(50):
        await Agent().run(f"{topic} {number}", model=ctx.model)
    return "done"
"""
ASKS_THE_SAME_MODEL_AT_ONCE = """
from pydantic_ai import RunContext

@agent.tool
async def research(ctx: RunContext[None], topic: str) -> str:
    asked = (Agent().run(f"{topic} {number}", model=ctx.model) for number in range(50))
    await asyncio.gather(*asked, return_exceptions=True)
    return "done"
"""
ASKS_FOR_MUCH_AT_ONCE = """
@agent.tool_plain
async def research(topic: str) -> str:
    much = ModelSettings(max_tokens=4000)
    await asyncio.gather(*(helper.run(f"{topic} {number}", model_settings=much) for number in range(4)))
    return "done"
"""
ASKS_FOR_MUCH_OF_THE_SAME = """
from pydantic_ai import RunContext

@agent.tool
async def research(ctx: RunContext[None], topic: str) -> str:
    own = Agent(model_settings=ModelSettings(max_tokens=4000))
    await asyncio.gather(*(own.run(f"{topic} {number}", model=ctx.model) for number in range(4)))
    return "done"
"""

LEAVES_TASKS_BEHIND = """
is_asked = asyncio.Event()
left = []

@agent.tool_plain
async def research(topic: str) -> str:
    left.extend(asyncio.create_task(helper.run(f"{topic} {number}")) for number in range(4))
    await is_asked.wait()
    raise RuntimeError("broken")
"""
LEAVES_A_THREAD_BEHIND = """
is_asked = asyncio.Event()
left = []

@agent.tool_plain
async def research(topic: str) -> str:
    left.append(asyncio.create_task(asyncio.to_thread(ask_all, topic)))
    await is_asked.wait()
    raise RuntimeError("broken")

def ask_all(topic: str) -> None:
    asyncio.run(ask(topic))

async def ask(topic: str) -> None:
    async with httpx2.AsyncClient() as own:
        asked = (helper_of(own).run(f"{topic} {number}") for number in range(4))
        await asyncio.gather(*asked, return_exceptions=True)
"""

LEAVES_A_TASK_FOR_LATER = """
is_later = asyncio.Event()

@agent.tool_plain
async def research(topic: str) -> str:
    global left
    left = asyncio.create_task(ask(topic))
    return "done"

async def ask(topic: str) -> None:
    await is_later.wait()
    await helper.run(topic)
"""

Install = Callable[[str], PersonaResponder]


def rule(messages: Sequence[ChatMessage]) -> str | ToolCall:
    """Asks for research; what is asked of the helper is answered."""
    return ToolCall("research", {"topic": "boats"}) if messages[-1].text == "hello" else "found"


@pytest.fixture
async def model() -> AsyncIterator[LoopbackModel]:
    async with LoopbackModel(rule) as running:
        yield running


@pytest.fixture(params=["openai:gpt-test", "anthropic:claude-test"])
async def install(
    request: pytest.FixtureRequest, house: House, model: LoopbackModel, tmp_path: Path
) -> AsyncIterator[Install]:
    async with AsyncExitStack() as stack:

        def install(code: str) -> PersonaResponder:
            base_url = model.base_url if "/v1" in model.base_url else f"{model.base_url}/v1"
            (tmp_path / "costly.py").write_text(HEAD.replace("BASE_URL", base_url) + code)
            ai = AiSettings(model=request.param, base_url=model.base_url)
            persona = PersonaSettings(name="default", agent="costly:agent")
            responder = build_responder(ai, (persona,), base_dir=tmp_path, clock=lambda: house.clock.now() / 1000)
            stack.push_async_callback(responder.close)
            house.responder.instead = responder
            return responder

        yield install


@pytest.fixture(autouse=True)
async def _forget_module(tmp_path: Path) -> AsyncIterator[None]:
    yield
    if module := sys.modules.pop("costly", None):
        await module.client.aclose()
    if str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))


@pytest.mark.parametrize(
    "code",
    [
        ASKS_ONE_AFTER_THE_OTHER, ASKS_ALL_AT_ONCE, ASKS_FROM_A_THREAD, ASKS_AS_A_STREAM, SWALLOWS_ERRORS,
        ASKS_WITH_THE_SAME_MODEL, ASKS_THE_SAME_MODEL_AT_ONCE,
    ],
    ids=[
        "in turn", "at once", "from a thread", "as a stream", "swallowing errors", "with the same model",
        "the same model at once",
    ],
)  # fmt: skip
async def test_the_requests_of_agents_inside_a_tool_count(
    house: House, install: Install, model: LoopbackModel, code: str
) -> None:
    install(code)
    await house.hear("hello")
    await house.settle(patience=HOUR)
    assert len(model.requests) == MAX_REQUESTS
    assert await house.outcomes() == [("hello", Outcome.FAILED)]
    assert await house.rows("SELECT count(*) FROM model_calls") == [(MAX_REQUESTS,)]


async def test_an_agent_inside_a_tool_that_keeps_within_the_bound_is_answered(
    house: House, install: Install, model: LoopbackModel
) -> None:
    model.reply = lambda messages: "We open at 9." if messages[-1].text.startswith("done") else rule(messages)
    install(ASKS_ONE_AFTER_THE_OTHER.replace("50", "2"))
    await house.hear("hello")
    await house.settle()
    assert house.sent == ["We open at 9."]
    assert await house.rows("SELECT requests FROM messages WHERE direction = 'in'") == [(4,)]


async def test_agents_without_a_limit_on_tokens_get_one(house: House, install: Install, model: LoopbackModel) -> None:
    model.reply = lambda messages: "We open at 9." if messages[-1].text.startswith("done") else rule(messages)
    install(ASKS_ONE_AFTER_THE_OTHER.replace("50", "1"))
    await house.hear("hello")
    await house.settle()
    assert limits(model) == [AiSettings().max_output_tokens] * 3


async def test_no_agents_own_limit_on_tokens_is_above_what_a_message_may_cost(
    house: House, install: Install, model: LoopbackModel
) -> None:
    install("agent = Agent(model_settings=ModelSettings(max_tokens=64_000))\n")
    model.reply = lambda _: "We open at 9."
    await house.hear("hello")
    await house.settle()
    assert limits(model) == [MAX_OUTPUT_TOKENS]


@pytest.mark.parametrize("code", [ASKS_FOR_MUCH_AT_ONCE, ASKS_FOR_MUCH_OF_THE_SAME], ids=["another", "the same"])
async def test_agents_asked_at_once_wait_for_tokens_instead_of_being_cut_short(
    house: House, install: Install, model: LoopbackModel, code: str
) -> None:
    model.reply = lambda messages: "We open at 9." if messages[-1].text.startswith("done") else rule(messages)
    install(code)
    await house.hear("hello")
    await house.settle()
    assert limits(model)[1:5] == [4000] * 4
    assert house.sent == ["We open at 9."]


@pytest.mark.parametrize("code", [LEAVES_TASKS_BEHIND, LEAVES_A_THREAD_BEHIND], ids=["tasks", "a thread"])
async def test_requests_that_a_broken_tool_has_left_under_way_are_cut_off_and_count(
    house: House, install: Install, model: LoopbackModel, code: str
) -> None:
    model.mode_of = lambda messages: None if messages[-1].text == "hello" else ModelFault.HANG
    install(code)
    await house.hear("hello")
    await house.take_in()
    turn = asyncio.create_task(house.turn())
    await model.wait_for_requests(5)
    costly = sys.modules["costly"]
    costly.is_asked.set()
    await turn
    assert await house.rows("SELECT requests FROM messages WHERE direction = 'in'") == [(5,)]
    await asyncio.wait(costly.left)
    model.reply = lambda _: "We open at 9."
    await house.settle()
    assert house.sent == ["We open at 9."]
    assert len(model.requests) == MAX_REQUESTS


async def test_no_request_is_made_any_more_for_an_answer_that_is_over(
    house: House, install: Install, model: LoopbackModel
) -> None:
    model.reply = lambda messages: "We open at 9." if messages[-1].text == "done" else rule(messages)
    install(LEAVES_A_TASK_FOR_LATER)
    await house.hear("hello")
    await house.settle()
    assert house.sent == ["We open at 9."]
    costly = sys.modules["costly"]
    costly.is_later.set()
    with pytest.raises(AllowanceSpent, match="is over"):
        await costly.left
    assert len(model.requests) == 2


TAKES_A_NUMBER = """
@agent.tool_plain
def research(topic: int) -> str:
    return "done"
"""


async def test_bad_arguments_for_a_tool_cost_an_attempt_and_back_off(
    house: House, install: Install, model: LoopbackModel
) -> None:
    model.reply = lambda _: ToolCall("research", {"topic": "boats"})
    install(TAKES_A_NUMBER)
    await house.hear("hello")
    waits = []
    for _ in range(2):
        await house.step()
        waits.append(await house.due_in() or 0)
        house.clock.advance(waits[-1])
    assert 0 < waits[0] < waits[1]
    assert await house.rows("SELECT tries, failures, requests FROM messages WHERE direction = 'in'") == [(2, 2, 4)]
    await house.settle(patience=HOUR)
    assert len(model.requests) == MAX_REQUESTS
    assert await house.outcomes() == [("hello", Outcome.FAILED)]
