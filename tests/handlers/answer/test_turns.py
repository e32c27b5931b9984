"""A turn: one reply for everything that waits."""

from __future__ import annotations

import asyncio
from datetime import UTC

import pytest

from convoq.ai.base import Author, ReplyContext
from convoq.clock import WallClock
from convoq.conversations.choosing import MOST_CHARACTERS
from convoq.errors import RetryLater
from convoq.handlers.base import Handlers
from convoq.worker import Worker
from tests.handlers.house import ANA, ANA_SMS, BEN, OUR_SMS, OURS, TOGETHER, House, about


async def test_a_message_is_answered(house: House) -> None:
    await house.hear("hello")
    await house.step()
    [message] = house.twilio.messages
    assert (message.body, message.to, message.from_) == ("re: hello", ANA, OURS)
    assert await house.outcomes() == [("hello", "answered")]


async def test_a_burst_gets_one_reply_that_covers_all(house: House) -> None:
    for text in ("hi", "are you open", "on Sunday?"):
        await house.hear(text)
    await house.settle()
    assert house.sent == ["re: hi + are you open + on Sunday?"]
    assert {outcome for _, outcome in await house.outcomes()} == {"answered"}


async def test_every_message_of_a_turn_names_its_answer(house: House) -> None:
    await house.hear("a")
    await house.hear("b")
    await house.settle()
    [answer] = await house.rows("SELECT id FROM messages WHERE direction = 'out'")
    assert await house.rows("SELECT answered_by FROM messages WHERE direction = 'in'") == [answer, answer]


async def test_two_people_get_a_reply_each(house: House) -> None:
    await house.hear("from Ana")
    await house.hear("from Ben", sender=BEN)
    await house.settle()
    assert {(message.to, message.body) for message in house.twilio.messages} == {
        (ANA, "re: from Ana"),
        (BEN, "re: from Ben"),
    }


async def test_one_person_at_two_of_our_addresses_has_two_conversations(house: House) -> None:
    await house.hear("to the shop", sender=ANA_SMS, to=OUR_SMS)
    await house.hear("to the office", sender=ANA_SMS, to="+15550008888")
    await house.settle()
    assert {(message.from_, message.body) for message in house.twilio.messages} == {
        (OUR_SMS, "re: to the shop"),
        ("+15550008888", "re: to the office"),
    }


async def test_a_duplicate_of_an_answered_message_is_harmless(house: House) -> None:
    await house.hear("hello", sid="SM" + "1" * 32, dedup=False)
    await house.settle()
    await house.hear("hello", sid="SM" + "1" * 32, dedup=False)
    await house.settle()
    assert house.sent == ["re: hello"]


async def test_a_duplicate_within_a_burst_is_harmless(house: House) -> None:
    for sid in ("1", "2", "1"):
        await house.hear(f"message {sid}", sid="SM" + sid * 32, dedup=False)
    await house.settle()
    assert house.sent == ["re: message 1 + message 2"]


async def test_a_burst_of_any_length_is_answered_turn_by_turn_and_each_message_is_shown(house: House) -> None:
    texts = [f"message {number}" for number in range(170)]  # several times what one claim or turn holds
    for text in texts:
        await house.hear(text)
    while await house.take_in():
        pass
    await house.settle()
    shown = [line.text for asked in house.responder.asked for line in asked.lines if line.author is Author.CONTACT]
    assert [text for text in texts if text not in shown] == []
    assert (len(house.responder.asked), len(house.sent)) == (4, 4)
    assert {outcome for _, outcome in await house.outcomes()} == {"answered"}


async def test_turns_follow_each_other_with_their_history(house: House) -> None:
    await house.hear("one")
    await house.settle()
    await house.hear("two")
    await house.settle()
    assert [(line.author, line.text) for line in house.responder.asked[1].lines] == [
        (Author.CONTACT, "one"),
        (Author.AI, "re: one"),
        (Author.CONTACT, "two"),
    ]


async def test_the_responder_knows_whom_it_speaks_for(house: House) -> None:
    await house.hear("hello", extra={"ProfileName": "Ana María"})
    await house.step()
    [asked] = house.responder.asked
    assert (asked.persona, asked.our_address, asked.address) == (f"persona of {OURS}", OURS, ANA)
    assert (asked.channel, asked.contact_name) == ("twilio", "Ana María")


async def test_each_model_call_is_written_down(house: House) -> None:
    house.responder.script = [RetryLater(1), about]
    await house.hear("hello")
    await house.settle()
    calls = await house.rows("SELECT model, outcome, input_tokens, output_tokens FROM model_calls")
    assert calls == [("scripted", "retryable", 3, 2), ("scripted", "ok", 3, 2)]


@pytest.mark.parametrize(
    ("text", "media", "note"),
    [
        ("", [("https://api.twilio.com/m/1", "image/jpeg")], "photo"),
        ("look", [("https://api.twilio.com/m/1", "image/jpeg")], "photo"),
        ("", [("https://api.twilio.com/m/1", "audio/ogg")], "voice note"),
        ("", [], "empty message"),
        ("   ", [], "empty message"),
    ],
)
async def test_a_message_without_text_is_described_and_answered(
    house: House, text: str, media: list[tuple[str, str]], note: str
) -> None:
    await house.hear(text, media=media)
    await house.settle()
    [line] = house.responder.asked[0].lines
    assert (line.text, line.notes) == (text, (note,))
    assert len(house.sent) == 1


async def test_what_people_wrote_is_kept_as_they_wrote_it(house: House) -> None:
    text = "  ¡Hola!\n\n👩‍👩‍👧 'quotes' \"more\" %s {x} \u202e \U0001f1ea\U0001f1f8  "
    await house.hear(text)
    await house.settle()
    assert await house.outcomes() == [(text, "answered")]


async def test_a_long_reply_is_sent_in_parts_in_order(house: House) -> None:
    text = " ".join(f"sentence number {number}." for number in range(300))
    house.responder.script = [text]
    await house.hear("tell me everything")
    await house.settle()
    assert len(house.sent) > 2
    assert "".join(house.sent) == text


async def test_the_next_answer_comes_after_the_last_part_of_this_one(house: House) -> None:
    house.responder.script = ["long " * 800]
    await house.hear("a")
    await house.step()
    await house.hear("b")
    await house.settle()
    assert house.sent[-1] == "re: b"
    assert "".join(house.sent[:-1]) == ("long " * 800).strip()


async def test_the_responder_is_told_the_time_of_the_wall_clock_whatever_the_queues_clock_shows(house: House) -> None:
    began = WallClock().now()
    await house.hear("hello")
    await house.hear("hello", sender=ANA_SMS, to=OUR_SMS)
    await house.step()
    for asked in house.responder.asked:
        assert began <= asked.lines[-1].at <= asked.now <= WallClock().now()
    assert {asked.our_address: asked.timezone for asked in house.responder.asked} == {OURS: UTC, OUR_SMS: None}
    assert house.clock.now() < began - 86_400_000


async def test_each_draft_has_the_whole_deadline_however_many_one_claim_takes(house: House) -> None:
    deadline = 1.0
    handlers = Handlers(house.handlers, together=TOGETHER, forgotten=frozenset())
    house.worker = Worker(house.queue, handlers, name="w", concurrency=8, deadline=deadline, drain_timeout=1)

    async def half(context: ReplyContext) -> str:
        await asyncio.sleep(deadline / 2)  # as long as the model takes, by the loop's own clock
        return "yes"

    house.responder.always = half
    for number in range(3):
        await house.hear_at_once(str(number) * (MOST_CHARACTERS - 1))  # one fills a prompt
    assert await house.turn() == 1
    assert await house.rows("SELECT outcome, failures FROM messages WHERE direction = 'in'") == [("answered", 0)] * 3
