"""A model with little room, behind the whole turn: everybody is answered, and nothing becomes a dead letter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from convoq.ai import build_responder
from convoq.ai.base import ReplyContext
from convoq.loopback.model import LoopbackModel
from convoq.settings import AiSettings
from tests.handlers.house import House


@pytest.fixture(params=["openai:gpt-test", "anthropic:claude-test"])
async def model(request: pytest.FixtureRequest, house: House) -> AsyncIterator[LoopbackModel]:
    """Has room for 4096 tokens, as a default LM Studio, and answers in the house."""
    async with LoopbackModel(lambda _: "We open at 9.", context_tokens=4096) as model:
        ai = AiSettings(model=request.param, base_url=model.base_url)
        responder = build_responder(ai, (), base_dir=Path())

        async def answer(context: ReplyContext) -> str:
            return (await responder.reply(context)).text

        house.responder.always = answer
        yield model
        await responder.close()


async def test_a_message_of_64_kib_is_answered(house: House, model: LoopbackModel) -> None:
    await house.hear("x" * 65_500 + " how much is it?")
    await house.settle()
    assert house.sent == ["We open at 9."]
    assert await house.dead() == []
    assert model.requests[-1].messages[-1].text.endswith(" how much is it?")


async def test_a_burst_of_60_long_messages_is_answered(house: House, model: LoopbackModel) -> None:
    for number in range(60):
        await house.hear(f"{number}: " + "wörter " * 215)
    await house.settle()
    assert {outcome for _, outcome in await house.outcomes()} == {"answered"}
    assert await house.dead() == []
    assert set(house.sent) == {"We open at 9."}
    assert model.requests
