"""A real llama.cpp with a template that raises: it answers convoq, whatever is said and however much.

Collected where the extra is installed (80 MB of wheels): pip install -e '.[test,llama]', then pytest tests/llama.
"""

from __future__ import annotations

import selectors
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from convoq.ai.base import Author
from convoq.settings import PersonaSettings
from tests.ai.conftest import Build, Conversation, build, conversation
from tests.llama.server import ANSWER, STRICT

__all__ = ["build", "conversation"]

CONTEXT = 8192


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file = tmp_path_factory.mktemp("llama") / "tiny.gguf"
    command = [sys.executable, "-m", "tests.llama.server", str(file), str(CONTEXT), STRICT]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(server.stdout, selectors.EVENT_READ)
            assert selector.select(timeout=60), "it does not start"
        yield server.stdout.readline().strip()
        server.stdin.close()
        server.wait(30)


async def asked(base_url: str, *roles: str) -> tuple[int, Any]:
    """What the server answers to messages of these roles."""
    messages = [{"role": role, "content": "hello"} for role in roles]
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{base_url}/chat/completions", json={"messages": messages, "max_tokens": 4}) as response,
    ):
        return response.status, await response.json()


async def test_it_refuses_a_second_system_message(base_url: str) -> None:
    status, answer = await asked(base_url, "system", "system", "user")
    assert status >= 400
    assert "System message must be at the beginning" in str(answer)
    status, answer = await asked(base_url, "system", "user")
    assert (status, answer["choices"][0]["message"]["content"]) == (200, ANSWER)


async def test_it_answers_a_talk(build: Build, conversation: Conversation, base_url: str) -> None:
    ours = [(Author.AI, "Hi!"), (Author.OPERATOR, "I am here, too."), (Author.SYSTEM, "handed back")]
    reply = await build(model="tiny", base_url=base_url).reply(conversation.context("hello", *ours, "open?"))
    assert reply.text == ANSWER
    assert conversation.outcomes == ["ok"]


async def test_it_answers_an_agent_with_instructions_of_its_own(
    build: Build, conversation: Conversation, base_url: str, tmp_path: Path
) -> None:
    code = (
        "from pydantic_ai import Agent\nagent = Agent(system_prompt=['Be brief.', 'Be kind.'], instructions='Be real.')"
    )
    (tmp_path / "llamabot.py").write_text(code)
    responder = build([PersonaSettings(name="shop", agent="llamabot:agent")], model="tiny", base_url=base_url)
    context = conversation.context("hello", (Author.AI, "Hi!"), "open?", persona="shop")
    assert (await responder.reply(context)).text == ANSWER


async def test_it_answers_what_does_not_fit(build: Build, conversation: Conversation, base_url: str) -> None:
    burst = [f"{number}: {'word ' * 300}" for number in range(40)]
    responder = build(model="tiny", base_url=base_url, max_output_tokens=100)
    assert (await responder.reply(conversation.context(*burst))).text == ANSWER
    assert conversation.outcomes[0] == "permanent"
    assert conversation.outcomes[-1] == "ok"
    one = Conversation()
    assert (await responder.reply(one.context("x" * 65_536 + " how much?"))).text == ANSWER
    assert one.outcomes[-1] == "ok"
