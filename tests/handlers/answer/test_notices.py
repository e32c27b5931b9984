"""Where there is no answer a person hears a sentence: once per silence, in the number's language, under the rules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from convoq.ai.base import AccountRefused, AnswerRefused, Author
from convoq.conversations.notices import Notices, Silence
from convoq.db import Database
from convoq.errors import RetryLater, Unrecoverable
from convoq.handlers.answer import Sentences
from convoq.jobs import ProcessAiResponse
from convoq.loopback.audit import read_record
from convoq.loopback.faults import refused, too_many
from convoq.queue.base import JobFilter
from tests.clock import ManualClock
from tests.handlers.house import ANA, ANA_SMS, BEN, OUR_SMS, OURS, House, open_house

DELAYED = {"en": "One moment, please.", "es": "Un momento, por favor."}
REFUSED = {"en": "I cannot help with that.", "es": "En eso no puedo ayudar."}
FAILED = {"en": "Sorry, no answer.", "es": ""}
HOLDING_AFTER = 120.0  # seconds


@pytest.fixture
async def house(database: Database, clock: ManualClock) -> AsyncIterator[House]:
    """Speaks English to WhatsApp and Spanish to SMS, where it says nothing of failures."""
    texts = {Silence.DELAYED: DELAYED, Silence.REFUSED: REFUSED, Silence.FAILED: FAILED}
    notices = Notices(texts, lambda address: "en" if address == OURS else "es")
    async with open_house(database, clock, sentences=Sentences(notices, round(HOLDING_AFTER * 1000))) as house:
        yield house


async def pass_time(house: House, seconds: float) -> None:
    """Whatever is due within that time is done."""
    while (due := await house.engine.next_due()) is not None and due <= seconds:
        house.clock.advance(due)
        seconds -= due
        await house.step()
    house.clock.advance(seconds)


async def test_a_dead_letter_is_not_silence(house: House) -> None:
    house.responder.script = [Unrecoverable("more than 12 model requests")]
    await house.hear("hello")
    await house.settle()
    assert house.sent == ["Sorry, no answer."]
    assert await house.outcomes() == [("hello", "failed")]
    assert len(await house.dead()) == 1


async def test_a_refusal_has_a_sentence_of_its_own(house: House) -> None:
    house.responder.always = AnswerRefused("it refused to answer")
    for text in ("hello", "and now?"):
        await house.hear(text)
        await house.settle()
    await house.hear("hola", sender=ANA_SMS, to=OUR_SMS)
    await house.settle()
    assert house.sent == ["I cannot help with that.", "En eso no puedo ayudar."]
    assert len(await house.dead()) == 3


async def test_a_refusal_whose_sentence_waits_for_twilio_is_told_once(house: House) -> None:
    house.responder.script = [AnswerRefused("it refused to answer")]
    house.twilio.fail_next(too_many())
    await house.hear("hello")
    await house.settle()
    assert house.sent == ["I cannot help with that."]
    assert await house.outcomes() == [("hello", "failed")]


async def test_the_sentence_is_part_of_the_burial(house: House) -> None:
    house.responder.always = Unrecoverable("no such model")
    await house.hear("hello")
    await house.take_in()
    [claim] = await house.claim(1)
    await house.handle(claim)
    assert await house.outcomes() == [("hello", "failed")]
    assert await house.outbox_states() == ["ready"]
    assert house.sent == []
    assert await house.due_in() == 0


async def test_a_job_that_is_buried_without_its_handler_is_no_silence_either(house: House) -> None:
    await house.hear("hello")
    await house.take_in()
    [claim] = await house.claim(1)
    await house.engine.bury(claim, claim.jobs, error="its worker died")
    await house.settle()
    assert house.sent == ["Sorry, no answer."]


async def test_one_sentence_per_silence(house: House) -> None:
    house.responder.always = Unrecoverable("no such model")
    for text in ("hello", "anybody?", "hm"):
        await house.hear(text)
        await house.settle()
    assert house.sent == ["Sorry, no answer."]


async def test_an_answer_ends_the_silence(house: House) -> None:
    house.responder.script = [Unrecoverable("no"), "We open at 9.", Unrecoverable("no")]
    for text in ("one", "two", "three"):
        await house.hear(text)
        await house.settle()
    assert house.sent == ["Sorry, no answer.", "We open at 9.", "Sorry, no answer."]


async def test_a_retry_of_the_dead_letter_answers_all_the_same(house: House) -> None:
    house.responder.script = [Unrecoverable("no credit")]
    await house.hear("hello")
    await house.settle()
    await house.engine.retry_dead(JobFilter(kinds=(ProcessAiResponse.kind,)))
    await house.settle()
    assert house.sent == ["Sorry, no answer.", "re: hello"]


@pytest.mark.parametrize("error", [RetryLater(30, "down"), AccountRefused(30, "no credit")])
async def test_a_model_that_is_down_asks_for_patience_once(house: House, error: Exception) -> None:
    house.responder.always = error
    await house.hear("hello")
    await pass_time(house, HOLDING_AFTER - 31)
    assert house.sent == []
    await pass_time(house, 40)
    assert house.sent == ["One moment, please."]
    await pass_time(house, 1800)
    assert house.sent == ["One moment, please."]
    house.responder.always = None
    await house.settle()
    assert house.sent == ["One moment, please.", "re: hello"]


async def test_what_was_asked_to_wait_and_failed_is_told_so(house: House) -> None:
    house.responder.always = RetryLater(30, "down")
    await house.hear("hello")
    await pass_time(house, 300)
    house.responder.always = Unrecoverable("gone")
    await house.settle()
    assert house.sent == ["One moment, please.", "Sorry, no answer."]


async def test_a_model_never_reads_such_a_sentence(house: House) -> None:
    house.responder.script = [Unrecoverable("no"), "We open at 9."]
    for text in ("one", "two", "three"):
        await house.hear(text)
        await house.settle()
    lines = [line.text for line in house.responder.asked[-1].lines if line.author is Author.AI]
    assert lines == ["We open at 9."]


async def test_each_number_has_its_language_and_may_say_nothing(house: House) -> None:
    house.responder.always = RetryLater(60, "down")
    await house.hear("hola", sender=ANA_SMS, to=OUR_SMS)
    await pass_time(house, 200)
    assert house.sent == ["Un momento, por favor."]
    house.responder.always = Unrecoverable("gone")
    await house.settle()
    assert house.sent == ["Un momento, por favor."]
    assert len(await house.dead()) == 1


async def test_after_a_stop_nothing_is_said(house: House) -> None:
    async def stop(_: Any) -> str:
        await house.hear_at_once("STOP")
        raise Unrecoverable("no such model")

    house.responder.always = stop
    await house.hear("hello")
    await house.settle()
    assert house.sent == []


async def test_while_a_person_has_taken_over_nothing_is_said(house: House) -> None:
    async def take_over(_: Any) -> str:
        await house.change("UPDATE conversations SET owner = 'human'")
        raise Unrecoverable("no such model")

    house.responder.always = take_over
    await house.hear("hello")
    await house.settle()
    assert house.sent == []


async def test_after_the_window_nothing_is_said(house: House) -> None:
    async def a_day_later(_: Any) -> str:
        house.clock.advance(90_000)
        raise Unrecoverable("no such model")

    house.responder.always = a_day_later
    await house.hear("hello")
    await house.settle()
    assert house.sent == []


async def test_a_sentence_that_cannot_be_sent_brings_no_other(house: House) -> None:
    house.responder.always = Unrecoverable("no such model")
    house.twilio.fail_next(refused(63016))
    await house.hear("hello")
    await house.settle()
    assert house.sent == []
    assert await house.outbox_states() == ["failed"]
    assert len(await house.dead()) == 1


async def test_another_persons_silence_is_another_one(house: House) -> None:
    house.responder.always = Unrecoverable("no such model")
    await house.hear("hello")
    await house.hear("hello", sender=BEN)
    await house.settle()
    assert sorted(message.to for message in house.twilio.messages) == sorted([ANA, BEN])


async def test_it_is_no_answer_too_many(house: House) -> None:
    house.responder.script = [Unrecoverable("no such model")]
    await house.hear("hello")
    await house.settle()
    record = await read_record(house.database, house.engine)
    assert {message.reference for message in house.twilio.messages} <= record.unprompted
