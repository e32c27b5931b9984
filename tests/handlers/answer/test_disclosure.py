"""The first answer to a person says that an AI gives it; no later one does."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from convoq.ai.base import ReplyContext
from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from convoq.handlers.disclosing import Disclosure
from convoq.loopback.faults import error, refused, reset, too_many
from convoq.queue.base import JobFilter
from tests.clock import ManualClock
from tests.handlers.house import ANA, ANA_SMS, BEN, OUR_SMS, House, about, open_house

SENTENCE = "I am an AI."
DISCLOSURE = Disclosure({"en": SENTENCE, "es": "Soy una IA.", "fr": ""}, lambda _: "en")


@pytest.fixture
async def house(
    database: Database | PostgresDatabase, clock: ManualClock, twilio_timeout: float
) -> AsyncIterator[House]:
    async with open_house(database, clock, disclosure=DISCLOSURE, timeout=twilio_timeout) as house:
        yield house


async def test_the_first_answer_begins_with_it_and_no_other_does(house: House) -> None:
    for text in ("hello", "are you open?"):
        await house.hear(text)
        await house.settle()
    assert house.sent == [f"{SENTENCE}\n\nre: hello", "re: are you open?"]


async def test_each_person_is_told(house: House) -> None:
    for person in (ANA, BEN):
        await house.hear("hello", sender=person)
        await house.settle()
    assert house.sent == [f"{SENTENCE}\n\nre: hello"] * 2


async def test_who_comes_back_in_another_conversation_is_not_told_again(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    house.clock.advance(90_000)
    await house.upkeep("process_expired")
    await house.hear("me again")
    await house.settle()
    assert house.sent[1] == "re: me again"


async def test_what_is_on_record_is_what_was_said(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    assert await house.rows("SELECT body FROM messages WHERE direction = 'out'") == [(f"{SENTENCE}\n\nre: hello",)]
    assert await house.rows("SELECT disclosed_at FROM contacts") == [(house.clock.now(),)]


@pytest.mark.parametrize("fault", [too_many(), reset(), error(accepted=True)])
async def test_a_send_that_has_to_be_tried_again_says_it_once(house: House, fault: object) -> None:
    house.twilio.fail_next(fault)  # type: ignore[arg-type] # any of them
    await house.hear("hello")
    await house.settle()
    assert house.sent == [f"{SENTENCE}\n\nre: hello"]


async def test_an_answer_that_was_given_up_has_told_nobody(house: House) -> None:
    async def interrupted(context: ReplyContext) -> str:
        await house.hear_at_once("and on Monday?")
        return about(context)

    house.responder.script = [interrupted]
    await house.hear("open on Sunday?")
    await house.settle()
    assert house.sent == [f"{SENTENCE}\n\nre: open on Sunday? + and on Monday?"]


async def test_an_answer_that_the_channel_refuses_has_told_nobody_so_the_next_one_tells(house: House) -> None:
    house.twilio.fail_next(refused(21614))
    for text in ("hello", "are you there?", "on Sunday too?"):
        await house.hear(text)
        await house.settle()
    assert house.sent == [f"{SENTENCE}\n\nre: are you there?", "re: on Sunday too?"]


async def test_an_answer_that_was_cancelled_before_it_left_has_told_nobody(house: House) -> None:
    house.twilio.fail_next(too_many())
    await house.hear("hello")
    await house.step()
    await house.engine.cancel(JobFilter(ids=((await house.turn_job()).id,)))
    await house.hear("are you there?")
    await house.settle()
    assert house.sent == [f"{SENTENCE}\n\nre: are you there?"]


async def test_an_answer_that_a_colleague_has_overtaken_has_told_nobody(house: House) -> None:
    house.twilio.fail_next(too_many())
    await house.hear("hello")
    await house.step()
    await house.acts().reply(1, "Ana here")
    await house.settle()
    await house.acts().release(1)
    await house.hear("and on Sunday?")
    await house.settle()
    assert house.sent == ["Ana here", f"{SENTENCE}\n\nre: and on Sunday?"]


@pytest.mark.parametrize(("status", "told"), [("undelivered", 2), ("delivered", 1)])
async def test_an_answer_that_did_not_arrive_has_told_nobody(house: House, status: str, told: int) -> None:
    await house.hear("hello")
    await house.settle()
    await house.report(house.twilio.messages[0].sid, status, code=30005 if status == "undelivered" else None)
    await house.step()
    await house.hear("are you there?")
    await house.settle()
    assert sum(SENTENCE in body for body in house.sent) == told


async def test_an_answer_that_is_to_be_sent_again_still_tells(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    await house.report(house.twilio.messages[0].sid, "undelivered", code=30008)
    await house.step()
    await house.hear("are you there?")
    await house.settle()
    assert sorted(house.sent) == sorted([f"{SENTENCE}\n\nre: hello"] * 2 + ["re: are you there?"])


async def test_who_was_told_by_an_answer_whose_text_is_kept_no_more_is_not_told_again(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    await house.change("DELETE FROM outbox")
    await house.hear("are you there?")
    await house.settle()
    assert house.sent[1:] == ["re: are you there?"]


async def test_a_long_answer_has_it_in_its_first_message_alone_and_no_more_messages_than_it_may(house: House) -> None:
    house.responder.script = ["word " * 3000]
    await house.hear("hello")
    await house.settle()
    assert [body.startswith(SENTENCE) for body in house.sent] == [True, False, False, False]


async def test_two_answers_at_once_to_one_person_say_it_once(house: House) -> None:
    other = "+15550008888"

    async def meanwhile(context: ReplyContext) -> str:
        await house.hear("and here?", sender=ANA_SMS, to=other)
        await house.step()
        return about(context)

    house.responder.script = [meanwhile]
    await house.hear("hello", sender=ANA_SMS, to=OUR_SMS)
    await house.settle()
    assert house.sent == [f"{SENTENCE}\n\nre: and here?", "re: hello"]


async def test_it_is_said_in_the_language_of_the_number_and_not_where_the_settings_leave_it_out(
    database: Database | PostgresDatabase, clock: ManualClock
) -> None:
    languages = {OUR_SMS: "es", "+15550008888": "fr"}
    disclosure = Disclosure({"en": SENTENCE, "es": "Soy una IA.", "fr": ""}, languages.__getitem__)
    async with open_house(database, clock, disclosure=disclosure) as house:
        for ours, person in zip(languages, (ANA_SMS, "+15551230002"), strict=True):
            await house.hear("hola", sender=person, to=ours)
            await house.settle()
        assert house.sent == ["Soy una IA.\n\nre: hola", "re: hola"]
