"""Where the channel does not, we confirm a STOP: once for each opt-out, in its language; nothing else goes out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import pytest

from convoq.conversations.confirming import Confirmations
from convoq.conversations.resending import Resending
from convoq.db import Database
from convoq.handlers.receive import enqueue_turns
from convoq.loopback.faults import refused, reset, too_many
from convoq.settings.notices import OPTED_OUT, sentences
from convoq.settings.people import NoticeSettings
from tests.clock import ManualClock
from tests.handlers.house import ANA, ANA_SMS, OUR_SMS, OURS, House, open_house

EN = OPTED_OUT["en"]


@pytest.fixture
async def house(database: Database, clock: ManualClock) -> AsyncIterator[House]:
    confirmations = Confirmations(sentences(NoticeSettings(), "opted_out"), lambda _: "en")
    async with open_house(database, clock, confirmations=confirmations) as house:
        yield house


async def say(house: House, *texts: str, sms: bool = False) -> None:
    for text in texts:
        await house.hear(text, sender=ANA_SMS if sms else ANA, to=OUR_SMS if sms else OURS)
        await house.settle()


@pytest.mark.parametrize(
    ("word", "language"),
    [
        ("STOP", "en"), ("Unsubscribe", "en"), ("BAJA", "es"), ("darme de baja", "es"), ("Sair", "pt"), ("Pare!", "pt"),
        ("ARRÊT", "fr"), ("désabonner", "fr"), ("Abmelden", "de"), ("stopp", "de"),
    ],
)  # fmt: skip
async def test_a_stop_is_confirmed_in_its_language(house: House, word: str, language: str) -> None:
    await say(house, word)
    assert house.sent == [OPTED_OUT[language]]


async def test_a_word_of_all_languages_is_confirmed_in_the_one_of_the_number(
    database: Database, clock: ManualClock
) -> None:
    spanish = Confirmations(OPTED_OUT, lambda _: "es")
    async with open_house(database, clock, confirmations=spanish) as house:
        await say(house, "STOP")
        assert house.sent == [OPTED_OUT["es"]]


async def test_by_sms_twilio_confirms_what_it_obeys_and_we_what_it_does_not(house: House) -> None:
    await say(house, "STOP", sms=True)
    assert house.sent == []
    await say(house, "START", "BAJA", sms=True)
    assert house.sent == [OPTED_OUT["es"]]


async def test_where_twilio_has_answered_for_the_service_we_do_not(house: House) -> None:
    await house.hear("STOP", extra={"OptOutType": "STOP"})
    await house.settle()
    assert house.sent == []


async def test_a_second_stop_is_not_confirmed_again(house: House) -> None:
    await say(house, "STOP", "STOP", "baja")
    assert house.sent == [EN]


async def test_a_second_stop_keeps_the_confirmation_of_the_first(house: House) -> None:
    await house.hear_at_once("STOP")
    await house.hear_at_once("STOP")
    await house.settle()
    assert house.sent == [EN]


async def test_a_stop_that_is_delivered_again_is_not_confirmed_again(house: House) -> None:
    sid = house.twilio.new_sid()
    for _ in range(2):
        await house.hear("STOP", sid=sid, dedup=False)
        await house.settle()
    assert house.sent == [EN]


async def test_each_opt_out_is_confirmed(house: House) -> None:
    await say(house, "STOP", "START", "STOP")
    assert [body for body in house.sent if body == EN] == [EN, EN]


async def test_who_is_back_before_it_went_out_is_told_nothing_of_it(house: House) -> None:
    await house.hear_at_once("STOP")
    await house.hear_at_once("START")
    await house.settle()
    assert house.sent == ["re: START"]
    assert await house.outbox_states() == ["cancelled", "sent"]


async def fails_at_the_carrier(house: House, code: int) -> None:
    await house.report(house.twilio.messages[-1].sid, "undelivered", code=code)
    await house.step()


async def test_one_that_was_not_delivered_is_sent_again_where_its_cause_may_pass(house: House) -> None:
    await say(house, "STOP")
    await fails_at_the_carrier(house, 30008)
    await house.settle()
    assert house.sent == [EN, EN]


async def test_one_that_waits_to_be_sent_again_is_not_said_of_a_later_stop_as_well(house: House) -> None:
    await house.hear_at_once("STOP")
    await house.live(1)
    await fails_at_the_carrier(house, 30008)
    await house.hear_at_once("START")
    house.clock.advance(1)
    await house.hear_at_once("STOP")
    await house.settle()
    assert house.sent == [EN, EN]


async def resend(house: House) -> list[str | None]:
    [(message_id,)] = await house.rows("SELECT message_id FROM outbox")
    wake = partial(enqueue_turns, house.joined)
    return [one.reason for one in await Resending(house.database, house.wall).resend(message_id, wake) or []]


async def test_one_that_was_not_delivered_may_be_sent_again_by_hand(house: House) -> None:
    await say(house, "STOP")
    await fails_at_the_carrier(house, 30007)
    assert await resend(house) == [None]
    await house.settle()
    assert house.sent == [EN, EN]


async def test_who_is_back_is_not_sent_it_by_hand(house: House) -> None:
    await house.hear_at_once("STOP")
    await house.live(1)
    await fails_at_the_carrier(house, 30007)
    await house.hear_at_once("START")
    assert await resend(house) == ["the person wants messages again"]


async def test_it_is_the_only_thing_that_goes_out(house: House) -> None:
    house.twilio.fail_next(too_many("3600"))
    await house.hear("hello")
    await house.step()
    await house.send("your table is ready")
    await say(house, "STOP", "are you there?")
    await house.send("your table is still ready")
    await house.settle()
    assert house.sent == [EN]


async def test_it_waits_for_no_turn_that_backs_off(house: House) -> None:
    house.responder.always = RuntimeError("broken")
    await house.hear("hello")
    await house.live(30)
    await house.hear("STOP")
    await house.live(1)
    assert house.sent == [EN]


async def test_a_confirmation_whose_answer_was_lost_is_looked_up(house: House) -> None:
    house.twilio.fail_next(reset(accepted=True))
    await say(house, "STOP")
    assert house.sent == [EN]


async def test_one_that_twilio_refuses_since_the_person_has_opted_out_there_is_given_up(house: House) -> None:
    house.twilio.fail_next(refused(21610))
    await say(house, "STOP")
    assert (house.sent, await house.outbox_states()) == ([], ["failed"])


async def test_the_model_is_not_shown_it(house: House) -> None:
    await say(house, "STOP", "START", "hello")
    assert [line.text for asked in house.responder.asked for line in asked.lines if line.text == EN] == []


async def test_an_empty_sentence_is_not_said(database: Database, clock: ManualClock) -> None:
    silent = Confirmations(sentences(NoticeSettings(opted_out={"en": ""}), "opted_out"), lambda _: "en")
    async with open_house(database, clock, confirmations=silent) as house:
        await say(house, "STOP")
        assert house.sent == []
