"""What is said to who has fallen silent: once, by the AI alone, and only where the settings have a sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.handlers.house import ANA_SMS, OUR_SMS, TIMING, House
from tests.handlers.who_answers.chats import ask_for_person, hear, open_chat
from tests.handovers import HANDOVER, TALKATIVE

SPEAKS = replace(HANDOVER, sentences=TALKATIVE)
IDLE, EXPIRED = TIMING.idle_after, TIMING.expire_after
speaks = pytest.mark.parametrize("rules", [SPEAKS])


async def fall_silent(house: House, seconds: float) -> None:
    house.clock.advance(seconds)
    for kind in ("process_idle", "process_expired"):
        await house.upkeep(kind)
    await house.settle()


@speaks
async def test_a_silence_after_an_answer_is_broken_once(house: House) -> None:
    await open_chat(house)
    for _ in range(3):
        await fall_silent(house, IDLE)
    assert house.sent == ["re: hello", "<check_in>"]
    assert await house.flaws() == []


@speaks
async def test_each_silence_is_broken_once(house: House) -> None:
    await open_chat(house)
    await fall_silent(house, IDLE)
    await hear(house, "yes: parking?")
    await fall_silent(house, IDLE)
    assert house.sent == ["re: hello", "<check_in>", "re: yes: parking?", "<check_in>"]


@speaks
async def test_the_model_does_not_read_the_check_in(house: House) -> None:
    await open_chat(house)
    await fall_silent(house, IDLE)
    await hear(house, "yes: parking?")
    assert [line.text for line in house.responder.asked[-1].lines] == ["hello", "re: hello", "yes: parking?"]


@speaks
async def test_who_has_said_thanks_is_asked_nothing(house: House) -> None:
    await open_chat(house)
    await hear(house, "thanks")
    await fall_silent(house, IDLE)
    assert house.sent == ["re: hello"]


@speaks
async def test_who_has_opted_out_hears_nothing(house: House) -> None:
    await open_chat(house)
    await hear(house, "STOP")
    await fall_silent(house, IDLE)
    assert house.sent == ["re: hello"]


@speaks
@pytest.mark.parametrize("taken", [True, False])
async def test_where_a_person_of_ours_answers_or_is_awaited_the_ai_asks_nothing(house: House, taken: bool) -> None:
    conversation = await ask_for_person(house)
    if taken:
        await house.acts().take_over(conversation)
    await fall_silent(house, IDLE)
    assert house.sent == ["re: hello", "<handed_over>"]


@speaks
async def test_what_closes_for_its_silence_says_so_where_the_channel_takes_it(house: House) -> None:
    await house.hear("hello", sender=ANA_SMS, to=OUR_SMS)
    await house.settle()
    await fall_silent(house, IDLE)
    await fall_silent(house, EXPIRED - IDLE)
    assert house.sent == ["re: hello", "<check_in>", "<expired>"]
    assert await house.rows("SELECT status, closed_reason FROM conversations") == [("closed", "expired")]


async def test_without_a_sentence_nothing_is_said(house: House) -> None:
    await open_chat(house)
    await fall_silent(house, IDLE)
    await fall_silent(house, EXPIRED)
    assert house.sent == ["re: hello"]
