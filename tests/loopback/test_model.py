"""The loopback model speaks both dialects and fails in the way it was told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import pytest

from convoq.loopback.dialects import ChatMessage, ToolCall
from convoq.loopback.faults import ModelFault
from convoq.loopback.model import HUGE_BYTES, LoopbackModel


@pytest.fixture
async def model() -> AsyncIterator[LoopbackModel]:
    async with LoopbackModel() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        yield session


def openai(model: LoopbackModel) -> tuple[str, dict[str, Any]]:
    return f"{model.base_url}/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "hola"}]}


def anthropic(model: LoopbackModel) -> tuple[str, dict[str, Any]]:
    body = {"model": "m", "max_tokens": 9, "system": "be nice", "messages": [{"role": "user", "content": "hola"}]}
    return f"{model.base_url}/messages", body


async def test_openai_dialect_answers_by_the_rule(model: LoopbackModel, http: aiohttp.ClientSession) -> None:
    url, body = openai(model)
    async with http.post(url, json=body) as response:
        answer = await response.json()
    assert answer["choices"][0]["message"]["content"] == "You said: hola"
    assert answer["usage"]["prompt_tokens"] > 0
    assert model.requests[0].dialect == "openai"


async def test_anthropic_dialect_answers_by_the_rule(model: LoopbackModel, http: aiohttp.ClientSession) -> None:
    url, body = anthropic(model)
    async with http.post(url, json=body) as response:
        answer = await response.json()
    assert answer["content"] == [{"type": "text", "text": "You said: hola"}]
    assert model.requests[0].messages == (ChatMessage("system", "be nice"), ChatMessage("user", "hola"))


async def test_rule_sees_the_messages(http: aiohttp.ClientSession) -> None:
    def shout(messages: Sequence[ChatMessage]) -> str:
        return messages[-1].text.upper()

    async with LoopbackModel(shout) as model:
        url, body = openai(model)
        async with http.post(url, json=body) as response:
            assert (await response.json())["choices"][0]["message"]["content"] == "HOLA"


@pytest.mark.parametrize("dialect", [openai, anthropic])
async def test_rule_may_ask_for_a_tool(dialect: Any, http: aiohttp.ClientSession) -> None:
    async with LoopbackModel(lambda _: ToolCall("look_up", {"id": 7})) as model:
        url, body = dialect(model)
        async with http.post(url, json=body) as response:
            assert "look_up" in await response.text()


@pytest.mark.parametrize("dialect", [openai, anthropic])
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (ModelFault.UNAUTHORIZED, 401),
        (ModelFault.NOT_FOUND, 404),
        (ModelFault.OVERFLOW, 400),
        (ModelFault.RATE_LIMITED, 429),
        (ModelFault.SERVER_ERROR, 500),
        (ModelFault.OVERLOADED, 529),
    ],
)
async def test_status_faults(
    model: LoopbackModel, http: aiohttp.ClientSession, dialect: Any, fault: ModelFault, status: int
) -> None:
    model.fail(fault)
    url, body = dialect(model)
    async with http.post(url, json=body) as response:
        assert response.status == status
        assert ("Retry-After" in response.headers) == (fault is ModelFault.RATE_LIMITED)
        assert "message" in (await response.json())["error"]


@pytest.mark.parametrize("fault", [ModelFault.RESET, ModelFault.TRUNCATED])
async def test_broken_connections(model: LoopbackModel, http: aiohttp.ClientSession, fault: ModelFault) -> None:
    model.fail(fault)
    url, body = openai(model)
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        async with http.post(url, json=body) as response:
            await response.read()


@pytest.mark.parametrize("fault", [ModelFault.GARBAGE, ModelFault.HTML, ModelFault.UTF16])
async def test_bodies_that_are_no_json(model: LoopbackModel, http: aiohttp.ClientSession, fault: ModelFault) -> None:
    model.fail(fault)
    url, body = openai(model)
    async with http.post(url, json=body) as response:
        assert response.status == 200
        raw = await response.read()
    with pytest.raises(ValueError, match=r"Expecting|codec|property"):
        __import__("json").loads(raw.decode("utf-8"))


async def test_huge_body_is_as_large_as_it_says(model: LoopbackModel, http: aiohttp.ClientSession) -> None:
    model.fail(ModelFault.HUGE)
    url, body = openai(model)
    size = 0
    async with http.post(url, json=body) as response:
        async for chunk in response.content.iter_any():
            size += len(chunk)
    assert size >= HUGE_BYTES


async def test_a_hanging_request_ends_when_the_client_goes_away(
    model: LoopbackModel, http: aiohttp.ClientSession
) -> None:
    model.fail(ModelFault.HANG)
    url, body = openai(model)
    asking = asyncio.create_task(http.post(url, json=body).__aenter__())
    await model.wait_for_requests(1)
    asking.cancel()
    await asyncio.wait_for(model.hung_up.wait(), 5)


async def test_mode_lasts_and_scripted_answers_come_first(model: LoopbackModel, http: aiohttp.ClientSession) -> None:
    model.mode = ModelFault.SERVER_ERROR
    model.fail(None)
    url, body = openai(model)
    statuses = []
    for _ in range(3):
        async with http.post(url, json=body) as response:
            statuses.append(response.status)
    assert statuses == [200, 500, 500]
