"""STOP, START, YES and HELP take effect before any AI, as each carrier wants it."""

from __future__ import annotations

import pytest

from tests.handlers.house import ANA, ANA_SMS, OUR_SMS, OURS, House

SMS, WHATSAPP = (ANA_SMS, OUR_SMS), (ANA, OURS)
BOTH = pytest.mark.parametrize("line", [SMS, WHATSAPP], ids=["sms", "whatsapp"])


async def hear(house: House, line: tuple[str, str], *texts: str) -> None:
    for text in texts:
        await house.hear(text, sender=line[0], to=line[1])
    await house.settle()


async def opted_out(house: House) -> bool:
    [(at,)] = await house.rows("SELECT opted_out_at FROM contacts")
    return at is not None


async def conversations(house: House) -> list[tuple[str, str | None]]:
    return [(status, reason) for status, reason in await house.rows("SELECT status, closed_reason FROM conversations")]


@BOTH
async def test_stop_opts_out_and_closes_the_conversation(house: House, line: tuple[str, str]) -> None:
    await hear(house, line, "STOP")
    assert await opted_out(house)
    assert await conversations(house) == [("closed", "opted_out")]


@BOTH
async def test_nobody_answers_stop(house: House, line: tuple[str, str]) -> None:
    await hear(house, line, "STOP")
    assert (house.sent, house.responder.asked) == ([], [])
    assert await house.outcomes() == [("STOP", "keyword")]


@BOTH
async def test_what_waits_before_a_stop_is_not_answered(house: House, line: tuple[str, str]) -> None:
    await hear(house, line, "how much is it", "STOP")
    assert house.sent == []
    assert await house.outcomes() == [("how much is it", "opted_out"), ("STOP", "keyword")]


@BOTH
async def test_what_comes_after_a_stop_is_not_answered(house: House, line: tuple[str, str]) -> None:
    await hear(house, line, "STOP", "hello?")
    await hear(house, line, "hello??")
    assert house.sent == []
    assert [outcome for _, outcome in await house.outcomes()] == ["keyword", "opted_out", "opted_out"]


@BOTH
async def test_a_second_stop_changes_nothing_more(house: House, line: tuple[str, str]) -> None:
    await hear(house, line, "STOP")
    await hear(house, line, "STOP")
    assert house.sent == []
    assert await opted_out(house)


@BOTH
async def test_a_stop_while_a_reply_is_written_keeps_it_back(house: House, line: tuple[str, str]) -> None:
    async def stopped(_: object) -> str:
        await house.hear_at_once("STOP", sender=line[0], to=line[1])
        return "too late"

    house.responder.script = [stopped]
    await hear(house, line, "hello")
    assert house.sent == []


@BOTH
async def test_start_after_a_stop_lets_answers_through_again(house: House, line: tuple[str, str]) -> None:
    await hear(house, line, "STOP")
    await hear(house, line, "START")
    assert not await opted_out(house)
    await hear(house, line, "hello again")
    assert house.sent[-1].endswith("hello again")


async def test_start_by_sms_is_answered_by_the_carrier_alone(house: House) -> None:
    await hear(house, SMS, "STOP")
    await hear(house, SMS, "START")
    assert house.sent == []


async def test_start_by_whatsapp_is_answered_by_us(house: House) -> None:
    await hear(house, WHATSAPP, "STOP")
    await hear(house, WHATSAPP, "START")
    assert house.sent == ["re: START"]


@BOTH
async def test_yes_is_an_ordinary_answer(house: House, line: tuple[str, str]) -> None:
    await hear(house, line, "yes")
    assert house.sent == ["re: yes"]


@BOTH
async def test_yes_of_somebody_who_opted_out_opts_in(house: House, line: tuple[str, str]) -> None:
    await hear(house, line, "STOP")
    await hear(house, line, "YES")
    assert not await opted_out(house)


async def test_help_by_sms_is_answered_by_the_carrier_alone(house: House) -> None:
    await hear(house, SMS, "HELP")
    assert (house.sent, await house.outcomes()) == ([], [("HELP", "keyword")])


async def test_help_by_whatsapp_is_answered_by_us(house: House) -> None:
    await hear(house, WHATSAPP, "HELP")
    assert house.sent == ["re: HELP"]


async def test_help_does_not_swallow_the_question_before_it(house: House) -> None:
    await hear(house, SMS, "where are you?", "HELP")
    assert len(house.sent) == 1
    assert house.responder.asked[0].lines[-1].text == "where are you?"
    assert await house.outcomes() == [("where are you?", "answered"), ("HELP", "keyword")]


async def test_stop_and_start_in_one_burst_count_in_their_order(house: House) -> None:
    await hear(house, SMS, "STOP", "START", "hello")
    assert not await opted_out(house)
    assert house.sent == ["re: START + hello"]


async def test_a_stop_at_one_of_our_numbers_holds_for_all(house: House) -> None:
    await hear(house, SMS, "STOP")
    await hear(house, (ANA_SMS, "+15550008888"), "hello")
    assert house.sent == []


@BOTH
async def test_a_keyword_that_comes_twice_takes_effect_once(house: House, line: tuple[str, str]) -> None:
    sid = house.twilio.new_sid()
    for text in ("STOP", "START"):
        await house.hear(text, sender=line[0], to=line[1], sid=sid if text == "STOP" else None)
        await house.settle()
    await house.hear("STOP", sender=line[0], to=line[1], sid=sid, dedup=False)
    await house.settle()
    assert not await opted_out(house)


async def test_what_twilio_itself_took_for_an_opt_out_is_one(house: House) -> None:
    await house.hear("no more please", sender=ANA_SMS, to=OUR_SMS, extra={"OptOutType": "STOP"})
    await house.settle()
    assert await opted_out(house)
