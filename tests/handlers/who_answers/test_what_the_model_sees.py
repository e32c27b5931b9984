"""What a model reads of who answered when: facts that have an end, and nothing that tells it to be silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from convoq.ai.base import Author, ReplyContext
from convoq.loopback.dialects import ChatMessage, ToolCall
from convoq.loopback.model import LoopbackModel
from tests.handlers.house import House
from tests.handlers.who_answers.chats import PERSON_PLEASE, ask_for_person, hear, open_chat, owner
from tests.handovers import GIVE_BACK_WITHIN, HANDOVER, TAKEN_WITHIN

HANDS_OVER = ToolCall("hand_over", {"reason": "complaint", "sentence": "A colleague will answer you here."})


def facts(context: ReplyContext) -> list[str]:
    return [line.text for line in context.lines if line.author is Author.SYSTEM]


def talk(model: LoopbackModel) -> list[tuple[str, str]]:
    """Of the last request: all but the system prompt."""
    return [(message.role, message.text) for message in model.requests[-1].messages if message.role != "system"]


async def test_a_chat_that_always_was_the_ais_holds_no_fact_of_it(house: House) -> None:
    await open_chat(house)
    await hear(house, "and on Sunday?")
    assert facts(house.responder.asked[-1]) == []


async def test_a_hand_over_a_take_over_and_a_give_back_stand_between_the_words_with_their_ends(house: House) -> None:
    conversation = await open_chat(house)
    house.clock.advance(60)
    await hear(house, PERSON_PLEASE)
    house.clock.advance(60)
    await house.acts().take_over(conversation)
    await house.acts().reply(conversation, "Marta here.")
    await house.settle()
    house.clock.advance(60)
    await hear(house, "thank you Marta")
    await house.acts().reply(conversation, "You are welcome.")
    await house.settle()
    house.clock.advance(60)
    await house.acts().release(conversation)
    await hear(house, "are you open on Sunday?")
    lines = [
        (line.author.value, line.text.partition("; that ended on ")[0]) for line in house.responder.asked[-1].lines
    ]
    assert lines == [
        ("contact", "hello"),
        ("ai", "re: hello"),
        ("contact", PERSON_PLEASE),
        ("system", "from here on a colleague was awaited (the person wanted a human)"),
        ("system", "from here on Marta, a colleague, answered"),
        ("operator", "Marta here."),
        ("contact", "thank you Marta"),
        ("operator", "You are welcome."),
        ("system", "from here on it is you who answers, and nobody else"),
        ("contact", "are you open on Sunday?"),
    ]
    *begun, returned = facts(house.responder.asked[-1])
    assert all("; that ended on " in fact for fact in begun)
    assert "ended" not in returned


async def test_after_a_give_back_the_model_answers_and_nothing_tells_it_to_be_silent(
    house: House, model: LoopbackModel
) -> None:
    def answer(messages: Sequence[ChatMessage]) -> str | ToolCall:
        return "We open at 9." if "open" in messages[-1].text else HANDS_OVER

    model.reply = answer
    await hear(house, "charged twice!")
    assert await owner(house) == "waiting"
    await house.acts().reply(1, "I have paid it back.")
    await house.settle()
    await house.acts().release(1)
    await hear(house, "when do you open?")
    assert house.sent[-1] == "We open at 9."
    asked = "\n".join(text for _, text in talk(model))
    assert "silent" not in asked
    assert "A colleague will answer you here." not in asked
    assert "⟦from here on it is you who answers, and nobody else⟧" in asked


async def test_a_colleagues_words_are_marked_as_such_and_no_words_of_the_assistant(
    house: House, model: LoopbackModel
) -> None:
    await hear(house, "hello")
    await house.acts().reply(1, "Marta here.")
    await house.settle()
    await house.acts().release(1)
    await hear(house, "and on Sunday?")
    said = [text for role, text in talk(model) if role == "assistant"]
    assert said == ["We open at 9.\n\n⟦colleague⟧ Marta here."] or said[-1] == "⟦colleague⟧ Marta here."
    assert "written by a human colleague" in model.requests[-1].system


async def test_what_nobody_came_for_is_marked_as_returned_and_answered(house: House) -> None:
    house.responder.script = [RuntimeError("broken")] * 5
    await hear(house, "where is my parcel?")
    assert (house.sent, await owner(house)) == (["<unable>"], "waiting")
    for seconds in (TAKEN_WITHIN, GIVE_BACK_WITHIN):
        house.clock.advance(seconds)
        await house.upkeep("process_handovers")
        await house.settle()
    assert house.sent == ["<unable>", "<nobody_free>", "re: where is my parcel?"]
    awaited, yours, returned = facts(house.responder.asked[-1])
    assert awaited.startswith("from here on a colleague was awaited; that ended on ")
    assert yours == "from here on it is you who answers, and nobody else"
    assert returned == "no colleague has answered what follows: answer it yourself"


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (HANDOVER, []),
        (
            replace(HANDOVER, notes_to_model=True),
            ["note of Marta, a colleague, which the person has not seen: gets 10 % off"],
        ),
    ],
)
async def test_notes_of_colleagues_are_read_only_where_the_settings_say_so(house: House, told: list[str]) -> None:
    conversation = await open_chat(house)
    await house.acts().note(conversation, "gets 10 % off")
    await hear(house, "and on Sunday?")
    assert facts(house.responder.asked[-1]) == told


async def test_an_earlier_conversations_hand_over_is_not_told(house: House) -> None:
    conversation = await ask_for_person(house)
    await house.acts().reply(conversation, "Marta here.")
    await house.settle()
    await house.acts().close(conversation)
    await hear(house, "hello again")
    assert facts(house.responder.asked[-1]) == []
    assert "Marta here." in [line.text for line in house.responder.asked[-1].earlier]


async def test_what_was_opted_out_and_in_again_is_not_told(house: House) -> None:
    await open_chat(house)
    await hear(house, "STOP", "START", "hello")
    assert facts(house.responder.asked[-1]) == []
