"""After a conversation has expired, the model still knows how it ended."""

from __future__ import annotations

import pytest

from convoq.ai.base import Author
from convoq.jobs import ProcessExpired, ProcessIdle
from convoq.loopback.model import LoopbackModel
from tests.handlers.house import ANA, BEN, House


async def expire(house: House) -> None:
    """The person is silent until the conversation is closed."""
    house.clock.advance(90_000)
    await house.upkeep(ProcessIdle.kind)
    await house.upkeep(ProcessExpired.kind)
    house.clock.advance(60)


@pytest.fixture
async def expired(house: House, model: LoopbackModel) -> LoopbackModel:
    """Ana has asked something, was answered, and her conversation has expired."""
    model.reply = lambda messages: f"re: {messages[-1].text[-20:]}"
    await house.hear("do you repair clocks?")
    await house.settle()
    await expire(house)
    assert await house.rows("SELECT closed_reason FROM conversations") == [("expired",)]
    return model


def talk(model: LoopbackModel) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in model.requests[-1].messages if message.role != "system"]


async def test_the_end_of_the_previous_conversation_is_shown_as_such(house: House, expired: LoopbackModel) -> None:
    await house.hear("and watches?")
    await house.settle()
    assert talk(expired) == [
        ("user", "⟦how earlier conversations with the person ended:⟧\n\ndo you repair clocks?"),
        ("assistant", "re: o you repair clocks?"),
        (
            "user",
            "⟦a new conversation begins here: take up earlier matters only if the person does⟧\n\nand watches?",
        ),
    ]


async def test_it_stays_in_view_as_the_new_one_goes_on(house: House, expired: LoopbackModel) -> None:
    for text in ("and watches?", "how long?"):
        await house.hear(text)
        await house.settle()
    roles = [role for role, _ in talk(expired)]
    assert roles == ["user", "assistant", "user", "assistant", "user"]
    assert talk(expired)[-1] == ("user", "how long?")


async def test_a_conversation_of_a_keyword_alone_is_looked_past(house: House, expired: LoopbackModel) -> None:
    await house.hear("STOP")
    await house.settle()
    await expire(house)
    await house.hear("START")
    await house.settle()
    await expire(house)
    await house.hear("and watches?")
    await house.settle()
    assert "do you repair clocks?" in talk(expired)[0][1]


async def test_another_persons_conversation_is_never_shown(house: House, expired: LoopbackModel) -> None:
    await house.hear("hello", sender=BEN)
    await house.settle()
    assert talk(expired) == [("user", "hello")]


async def test_what_is_older_than_a_month_is_not_shown(house: House, expired: LoopbackModel) -> None:
    await house.change("UPDATE messages SET wall_at = wall_at - ?", 31 * 86_400_000)
    await house.hear("and watches?")
    await house.settle()
    assert talk(expired) == [("user", "and watches?")]


async def test_no_more_than_its_last_lines_are_read(house: House) -> None:
    for number in range(15):
        await house.hear(f"question {number}")
        await house.settle()
    await expire(house)
    await house.hear("hello again", sender=ANA)
    await house.settle()
    earlier = house.responder.asked[-1].earlier
    assert [line.text for line in earlier if line.author is Author.CONTACT] == [f"question {n}" for n in range(5, 15)]
    assert len(earlier) == 20
