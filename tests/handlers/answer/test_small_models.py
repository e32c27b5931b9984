"""A model with little room, behind the whole turn: everybody is answered, and nothing becomes a dead letter."""

from __future__ import annotations

from convoq.loopback.model import LoopbackModel
from tests.handlers.house import House

LM_STUDIO = 4096  # tokens of its default context


async def test_a_message_of_64_kib_is_answered(house: House, model: LoopbackModel) -> None:
    model.context_tokens = LM_STUDIO
    await house.hear("x" * 65_500 + " how much is it?")
    await house.settle()
    assert house.sent == ["We open at 9."]
    assert await house.dead() == []
    assert model.requests[-1].messages[-1].text.endswith(" how much is it?")


async def test_a_burst_of_60_long_messages_is_answered(house: House, model: LoopbackModel) -> None:
    model.context_tokens = LM_STUDIO
    for number in range(60):
        await house.hear(f"{number}: " + "wörter " * 215)
    await house.settle()
    assert {outcome for _, outcome in await house.outcomes()} == {"answered"}
    assert await house.dead() == []
    assert set(house.sent) == {"We open at 9."}
    assert model.requests
