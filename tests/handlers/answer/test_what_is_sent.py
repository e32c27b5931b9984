"""An answer reaches the person as text that a phone shows, in a handful of messages."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from convoq.conversations.states import Outcome
from tests.handlers.house import ANA_SMS, OUR_SMS, TIMING, House, open_house

MARKDOWN = "**Hours**: see [our page](https://ex.com/h) and `code`"


async def test_whatsapp_gets_its_own_markup(house: House) -> None:
    house.responder.script = [MARKDOWN]
    await house.hear("when?")
    await house.settle()
    assert house.sent == ["*Hours*: see our page (https://ex.com/h) and `code`"]


async def test_sms_gets_plain_text(house: House) -> None:
    house.responder.script = [MARKDOWN]
    await house.hear("when?", sender=ANA_SMS, to=OUR_SMS)
    await house.settle()
    assert house.sent == ["Hours: see our page (https://ex.com/h) and code"]


async def test_what_was_sent_is_what_is_recorded(house: House) -> None:
    house.responder.script = [MARKDOWN]
    await house.hear("when?")
    await house.settle()
    assert await house.rows("SELECT body FROM messages WHERE author = 'ai'") == [(house.sent[0],)]


async def test_a_huge_answer_becomes_four_messages_and_the_log_says_so(house: House) -> None:
    house.responder.script = ["One sentence of a very long story. " * 13_400]
    await house.hear("tell me")
    with capture_logs() as logs:
        await house.settle()
    assert len(house.sent) == 4
    assert house.sent[-1].endswith("story.")
    (shortened,) = [entry for entry in logs if entry["event"] == "message.shortened"]
    assert (shortened["kept"], shortened["log_level"]) == (4, "warning")
    assert shortened["parts"] > 4


async def test_the_most_messages_of_an_answer_can_be_set(house: House) -> None:
    timing = TIMING.model_copy(update={"max_parts": 1})
    async with open_house(house.database, house.clock, timing=timing) as terse:
        terse.responder.script = ["One sentence of a very long story. " * 100]
        await terse.hear("tell me")
        await terse.settle()
        assert len(terse.sent) == 1


async def test_code_is_code_in_each_message(house: House) -> None:
    house.responder.script = ["```\n" + "echo one\n" * 300 + "```"]
    await house.hear("show me")
    await house.settle()
    assert [body.count("```") for body in house.sent] == [2, 2]


@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        ("cut \ud83d", "cut"),
        ("a\x00\x07\x1b[0mb", "ab"),
        ("to \u202ethe left", "to the left"),
        ("<think>x</think>Yes.", "Yes."),
    ],
)
async def test_text_that_cannot_be_sent_is_repaired_without_asking_again(house: House, answer: str, sent: str) -> None:
    house.responder.script = [answer]
    await house.hear("hello")
    await house.settle()
    assert house.sent == [sent]
    assert len(house.responder.asked) == 1


@pytest.mark.parametrize("answer", ["", "\u200b\u200d", "<think>never closed", '{"name": "x", "arguments": {}}'])
async def test_a_responder_that_answers_nothing_is_asked_again_later(house: House, answer: str) -> None:
    house.responder.script = [answer]
    await house.hear("hello")
    await house.settle()
    assert house.sent == ["re: hello"]
    assert await house.outcomes() == [("hello", Outcome.ANSWERED)]
