"""How a conversation ends: by the customer's thanks and goodbye, or by the model; and how it goes on after that."""

from __future__ import annotations

import pytest

from convoq.ai.base import ReplyContext
from convoq.loopback.dialects import ToolCall
from convoq.loopback.model import LoopbackModel
from tests.handlers.house import TIMING, House
from tests.handlers.who_answers.chats import ask_for_person, hear, open_chat, owner

REOPENS = TIMING.model_copy(update={"reopen_within": 600.0})
ASIDE = TIMING.model_copy(update={"closing_phrases": False})
CLOSES = TIMING.model_copy(update={"ai_may_close": True})
GOODBYE = "Glad to help. See you!"
ENDS = ToolCall("end_conversation", {"sentence": GOODBYE})
WORDLESS = ToolCall("end_conversation", {"sentence": ""})


async def conversations(house: House) -> list[tuple[str, str | None]]:
    """Of each: its status, and why it is closed."""
    return await house.rows("SELECT status, closed_reason FROM conversations ORDER BY id")


async def test_thanks_neither_close_nor_cost_a_call(house: House) -> None:
    await open_chat(house)
    await hear(house, "Thank you so much! 🙏")
    assert (house.sent, len(house.responder.asked)) == (["re: hello"], 1)
    assert await conversations(house) == [("active", None)]
    assert (await house.outcomes())[-1] == ("Thank you so much! 🙏", "no_reply")
    assert await house.flaws() == []


async def test_a_goodbye_closes_and_costs_no_call(house: House) -> None:
    await open_chat(house)
    await hear(house, "é só isso, obrigado")
    assert (house.sent, len(house.responder.asked)) == (["re: hello"], 1)
    assert await conversations(house) == [("closed", "user")]


@pytest.mark.parametrize("text", ["obrigado, mas e o boleto?", "thanks, but it is broken", "no, thanks"])
async def test_thanks_with_anything_else_stay_open_and_are_answered(house: House, text: str) -> None:
    await open_chat(house)
    await hear(house, text)
    assert house.sent == ["re: hello", f"re: {text}"]
    assert await conversations(house) == [("active", None)]


async def test_an_assent_to_a_question_of_ours_is_answered_in_spite_of_thanks(house: House) -> None:
    house.responder.script = ["Shall I book it?"]
    await open_chat(house)
    await hear(house, "ok, thanks")
    assert house.sent == ["Shall I book it?", "re: ok, thanks"]


async def test_thanks_to_whom_nobody_has_answered_are_answered(house: House) -> None:
    await hear(house, "thanks")
    assert house.sent == ["re: thanks"]


async def test_thanks_behind_a_question_do_not_hold_up_its_answer(house: House) -> None:
    await open_chat(house)

    async def thanked_meanwhile(_: ReplyContext) -> str:
        await house.hear_at_once("thanks, bye")
        return "At 9."

    house.responder.script = [thanked_meanwhile]
    await hear(house, "when do you open?")
    assert house.sent == ["re: hello", "At 9."]
    assert await conversations(house) == [("active", None)]


async def test_thanks_with_a_photo_are_answered(house: House) -> None:
    await open_chat(house)
    await house.hear("thanks", media=[("https://example.com/a.jpg", "image/jpeg")])
    await house.settle()
    assert len(house.responder.asked) == 2


async def test_thanks_to_a_colleague_are_for_the_colleague(house: House) -> None:
    conversation = await ask_for_person(house)
    await house.acts().take_over(conversation)
    await hear(house, "thanks")
    assert (await house.outcomes())[-1] == ("thanks", "human")


@pytest.mark.parametrize("timing", [ASIDE])
async def test_where_the_settings_say_so_thanks_are_answered(house: House) -> None:
    await open_chat(house)
    await hear(house, "thanks")
    assert house.sent[-1] == "re: thanks"


@pytest.mark.parametrize("timing", [REOPENS])
async def test_a_message_soon_after_the_goodbye_goes_on_with_the_conversation(house: House) -> None:
    await open_chat(house)
    await hear(house, "bye")
    house.clock.advance(599)
    await hear(house, "one more thing: parking?")
    assert await conversations(house) == [("active", None)]
    assert house.sent[-1].endswith("one more thing: parking?")


@pytest.mark.parametrize("timing", [REOPENS])
async def test_a_message_later_than_that_begins_another(house: House) -> None:
    await open_chat(house)
    await hear(house, "bye")
    house.clock.advance(601)
    await hear(house, "hello again")
    assert await conversations(house) == [("closed", "user"), ("active", None)]


@pytest.mark.parametrize("timing", [REOPENS])
async def test_what_a_colleague_has_closed_stays_closed(house: House) -> None:
    conversation = await open_chat(house)
    await house.acts().close(conversation)
    await hear(house, "hello again")
    assert await conversations(house) == [("closed", "operator"), ("active", None)]


@pytest.mark.parametrize("timing", [CLOSES])
async def test_the_model_closes_with_a_last_sentence(house: House, model: LoopbackModel) -> None:
    model.reply = lambda _: ENDS
    await hear(house, "I have all I need")
    assert (house.sent, await conversations(house)) == ([GOODBYE], [("closed", "ai")])
    assert await house.outcomes() == [("I have all I need", "answered")]
    assert await house.flaws() == []


@pytest.mark.parametrize("timing", [CLOSES])
async def test_a_model_without_words_closes_with_the_sentence_of_the_settings(
    house: House, model: LoopbackModel
) -> None:
    model.reply = lambda _: WORDLESS
    await hear(house, "I have all I need")
    assert (house.sent, await conversations(house)) == (["<goodbye>"], [("closed", "ai")])


@pytest.mark.parametrize("timing", [CLOSES])
async def test_both_tools_are_offered_where_both_are_allowed(house: House, model: LoopbackModel) -> None:
    await hear(house, "hello")
    tools = [tool.get("function", tool)["name"] for tool in model.requests[0].body["tools"]]
    assert sorted(tools) == ["end_conversation", "hand_over"]


async def test_the_model_may_not_close_unless_the_settings_say_so(house: House, model: LoopbackModel) -> None:
    await hear(house, "hello")
    assert "end_conversation" not in str(model.requests[0].body)


@pytest.mark.parametrize("timing", [CLOSES])
async def test_after_the_model_has_closed_the_next_message_begins_another(house: House, model: LoopbackModel) -> None:
    model.reply = lambda _: ENDS
    await hear(house, "I have all I need")
    model.reply = lambda _: "Hello again."
    await hear(house, "hello")
    assert await conversations(house) == [("closed", "ai"), ("active", None)]
    assert (await owner(house), house.sent) == ("ai", [GOODBYE, "Hello again."])
