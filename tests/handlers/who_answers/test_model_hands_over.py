"""The model asks for a person of ours: over HTTP, with a store and a channel behind it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from convoq.ai.base import HandoverReason
from convoq.conversations.handing_over import HandoverSentences, Told
from convoq.conversations.states import HandedReason
from convoq.loopback.dialects import ToolCall
from convoq.loopback.model import LoopbackModel
from tests.handlers.house import House
from tests.handlers.who_answers.chats import changes, hear, owner
from tests.handovers import HANDOVER, NOBODY_LOOKS
from tests.turn.stepping import stepping
from tests.turn.test_any_step import MOST_STEPS, turn_at_step

SENTENCE = "A colleague will look into it and answer you here."
HANDS_OVER = ToolCall("hand_over", {"reason": "complaint", "sentence": SENTENCE, "note": "charged twice"})
SAYS_NOTHING = replace(HANDOVER, sentences=HandoverSentences({told: {} for told in Told}, lambda _: "en"))
OF_A_PERSONA = replace(
    HANDOVER,
    sentences=HandoverSentences(
        {told: {"en": f"<{told}>", "es": f"<{told} es>"} for told in Told}, lambda _: "en",
        lambda _: {"en": "Marta answers you."},
    ),
)  # fmt: skip
SPEECHLESS = ToolCall("hand_over", {"reason": "complaint", "sentence": ""})


def test_each_reason_that_a_model_may_give_is_one_of_the_stores() -> None:
    assert {reason.value for reason in HandoverReason} <= {reason.value for reason in HandedReason}


async def test_the_customer_reads_the_models_sentence_and_waits_for_a_person(
    house: House, model: LoopbackModel
) -> None:
    model.reply = lambda _: HANDS_OVER
    await hear(house, "I was charged twice!")
    assert (house.sent, await owner(house)) == ([SENTENCE], "waiting")
    assert await changes(house) == [("ai", "complaint: charged twice", "ai", "waiting")]
    assert await house.outcomes() == [("I was charged twice!", "human")]
    assert await house.flaws() == []


async def test_what_comes_after_it_asks_no_model(house: House, model: LoopbackModel) -> None:
    model.reply = lambda _: HANDS_OVER
    await hear(house, "charged twice!", "hello?", "anybody?")
    assert (len(model.requests), house.sent) == (1, [SENTENCE])


async def test_without_a_sentence_of_the_models_the_customer_reads_that_of_the_settings(
    house: House, model: LoopbackModel
) -> None:
    model.reply = lambda _: SPEECHLESS
    await hear(house, "charged twice!")
    assert (house.sent, await owner(house), len(model.requests)) == (["<handed_over>"], "waiting", 2)


@pytest.mark.parametrize("rules", [OF_A_PERSONA])
@pytest.mark.parametrize("reason", ["complaint", "safety"])
async def test_without_a_sentence_of_the_models_the_customer_reads_the_personas_own(
    house: House, model: LoopbackModel, reason: str
) -> None:
    model.reply = lambda _: ToolCall("hand_over", {"reason": reason, "sentence": " "})
    await hear(house, "charged twice!")
    assert (house.sent, await owner(house), len(model.requests)) == (["Marta answers you."], "waiting", 2)


@pytest.mark.parametrize("rules", [OF_A_PERSONA])
@pytest.mark.parametrize(
    ("request_", "told"),
    [("a human, please", "Marta answers you."), ("quiero hablar con una persona", "<handed_over es>")],
)
async def test_who_asks_for_a_human_reads_the_personas_sentence_where_it_has_one_in_their_language(
    house: House, request_: str, told: str
) -> None:
    await hear(house, request_)
    assert house.sent == [told]


@pytest.mark.parametrize("rules", [SAYS_NOTHING])
async def test_a_hand_over_that_says_nothing_by_the_settings_is_one_all_the_same(
    house: House, model: LoopbackModel
) -> None:
    model.reply = lambda _: SPEECHLESS
    await hear(house, "charged twice!")
    assert (house.sent, await owner(house), await house.outcomes()) == ([], "waiting", [("charged twice!", "human")])


async def test_a_message_that_comes_meanwhile_is_seen_before_a_person_is_asked(
    house: House, model: LoopbackModel
) -> None:
    model.reply = lambda messages: "Great!" if "found it" in messages[-1].text else HANDS_OVER
    async with stepping(house) as steps:
        await house.hear_at_once("charged twice!")
        worker = await steps.claim()
        await worker.until("commit")
        await house.hear_at_once("no, found it")
        await worker.finish()
    await house.settle()
    assert (house.sent, await owner(house)) == (["Great!"], "ai")


async def test_a_death_at_any_step_of_a_hand_over_loses_and_doubles_nothing(house: House, model: LoopbackModel) -> None:
    model.reply = lambda _: HANDS_OVER
    async with stepping(house) as steps:
        for number in range(MOST_STEPS):
            before = len(house.sent)
            worker = await turn_at_step(steps, number)
            if worker is None:
                assert number > 5
                return
            worker.kill()
            await steps.recover(worker)
            await house.settle()
            assert (house.sent[before:], await owner(house)) == ([SENTENCE], "waiting")
    raise AssertionError("the turn has no end")


async def test_a_message_that_came_back_unanswered_cannot_be_handed_over_again(
    house: House, model: LoopbackModel
) -> None:
    model.reply = lambda _: HANDS_OVER
    await hear(house, "charged twice!")
    model.reply = lambda _: "I am sorry. I have noted it."
    await house.acts().release(1)
    await house.settle()
    assert house.sent == [SENTENCE, "I am sorry. I have noted it."]
    assert ["tools" in request.body for request in model.requests] == [True, False]


@pytest.mark.parametrize("rules", [NOBODY_LOOKS])
async def test_where_nobody_looks_the_model_is_offered_no_colleague(house: House, model: LoopbackModel) -> None:
    await hear(house, "hello")
    assert "tools" not in model.requests[0].body
