"""Outside the hours of a number: an answer, a message taken, or a sentence; and timers that stand still."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC

import pytest

from convoq.conversations.handing_over import HandoverRules
from convoq.conversations.out_of_hours import Desk, OutOfHours
from convoq.hours import OpeningHours
from tests.handlers.house import House
from tests.handlers.who_answers.chats import ask_for_person, changes, hear, open_chat, owner
from tests.handovers import GIVE_BACK_WITHIN, HANDOVER, TAKEN_WITHIN

HANDOVERS = "process_handovers"


class DayByDay(OpeningHours):
    """Somebody is there for ever or never: the test turns it. What was open before the last turn has counted."""

    def __init__(self) -> None:
        super().__init__((), (), UTC)
        self.open = True
        self.counted = 0  #: ms in which somebody was there

    def is_open(self, at: int) -> bool:
        return self.open

    def open_between(self, since: int, until: int) -> int:
        return self.counted

    def closed_since(self, at: int) -> int:
        return 0


def rules_of(out_of_hours: OutOfHours) -> HandoverRules:
    desk = Desk(DayByDay(), out_of_hours)
    return replace(HANDOVER, desk_of=lambda _: desk)


def hours_of(rules: HandoverRules) -> DayByDay:
    desk = rules.desk_of("")
    assert desk is not None
    assert isinstance(desk.hours, DayByDay)
    return desk.hours


@pytest.fixture
def rules(request: pytest.FixtureRequest) -> HandoverRules:
    return rules_of(getattr(request, "param", OutOfHours.ANSWER))


def at(policy: OutOfHours) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("rules", [policy], indirect=True)


async def upkeep(house: House) -> None:
    await house.upkeep(HANDOVERS)
    await house.settle()


@at(OutOfHours.ANSWER)
async def test_the_ai_answers_as_ever_where_it_is_to(house: House, rules: HandoverRules) -> None:
    hours_of(rules).open = False
    await hear(house, "hello")
    assert house.sent == ["re: hello"]


@at(OutOfHours.MESSAGE)
async def test_a_message_is_taken_with_one_sentence_and_no_model_is_asked(house: House, rules: HandoverRules) -> None:
    hours_of(rules).open = False
    await hear(house, "hello", "anybody?")
    assert (house.sent, len(house.responder.asked)) == (["<closed>"], 0)
    assert await changes(house) == [("system", "closed", "ai", "waiting")]
    assert await house.outcomes() == [("hello", "human"), ("anybody?", "human")]


@at(OutOfHours.MESSAGE)
async def test_what_was_taken_is_answered_when_the_hours_begin(house: House, rules: HandoverRules) -> None:
    hours_of(rules).open = False
    await hear(house, "hello", "anybody?")
    await upkeep(house)
    assert await owner(house) == "waiting"
    hours_of(rules).open = True
    await upkeep(house)
    assert (house.sent, await owner(house)) == (["<closed>", "re: hello + anybody?"], "ai")
    assert await house.flaws() == []


@at(OutOfHours.MESSAGE)
async def test_what_whatsapp_takes_no_answer_to_any_more_is_left_to_a_person(
    house: House, rules: HandoverRules
) -> None:
    hours_of(rules).open = False
    await hear(house, "hello")
    house.clock.advance(25 * 3600)
    hours_of(rules).open = True
    await upkeep(house)
    assert (house.sent, await owner(house)) == (["<closed>"], "waiting")


@at(OutOfHours.MESSAGE)
async def test_what_a_person_gives_back_at_night_is_answered(house: House, rules: HandoverRules) -> None:
    hours_of(rules).open = False
    await hear(house, "hello")
    await house.acts().release(1)
    await house.settle()
    assert (house.sent, await owner(house)) == (["<closed>", "re: hello"], "ai")


@at(OutOfHours.SENTENCE)
async def test_a_sentence_is_all_that_is_said_once_a_night(house: House, rules: HandoverRules) -> None:
    hours_of(rules).open = False
    await hear(house, "hello", "anybody?")
    assert (house.sent, len(house.responder.asked), await owner(house)) == (["<closed>"], 0, "ai")
    assert await house.outcomes() == [("hello", "no_reply"), ("anybody?", "no_reply")]
    hours_of(rules).open = True
    await hear(house, "open?")
    assert house.sent[1:] == ["re: hello + anybody? + open?"]
    assert await house.flaws() == []


async def test_who_waits_for_a_person_at_night_is_told_nothing_until_the_hours_begin(
    house: House, rules: HandoverRules
) -> None:
    await ask_for_person(house)
    hours_of(rules).open = False
    house.clock.advance(TAKEN_WITHIN + GIVE_BACK_WITHIN)
    await upkeep(house)
    assert house.sent == ["re: hello", "<handed_over>"]
    hours_of(rules).open = True
    await upkeep(house)
    assert house.sent == ["re: hello", "<handed_over>"]
    hours_of(rules).counted = TAKEN_WITHIN * 1000
    await upkeep(house)
    assert house.sent == ["re: hello", "<handed_over>", "<nobody_free>"]


async def test_a_colleagues_silence_at_night_gives_nothing_back(house: House, rules: HandoverRules) -> None:
    conversation = await open_chat(house)
    await house.acts().take_over(conversation)
    hours_of(rules).open = False
    house.clock.advance(24 * 3600)
    await upkeep(house)
    assert await owner(house) == "human Marta"
