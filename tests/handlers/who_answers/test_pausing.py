"""The AI is paused in one chat, at one number or anywhere: who writes there waits for a person and is told so once."""

from __future__ import annotations

import pytest

from convoq.conversations.ownership import ActRefused
from convoq.conversations.pausing import number_scope, thread_scope
from convoq.errors import RetryLater
from tests.handlers.house import ANA, ANA_SMS, OUR_SMS, OURS, House
from tests.handlers.who_answers.chats import changes, hear, open_chat, owner
from tests.handovers import GIVE_BACK_WITHIN, TAKEN_WITHIN

EACH_SCOPE = pytest.mark.parametrize("scope", ["all", number_scope(OURS), thread_scope(1)])


@EACH_SCOPE
async def test_who_writes_during_a_pause_is_told_once_and_answered_after_it(house: House, scope: str) -> None:
    await open_chat(house)
    await house.acts().pause(scope)
    await hear(house, "are you there?", "hello?")
    assert (await owner(house), house.sent) == ("waiting", ["re: hello", "<paused>"])
    assert [outcome for _, outcome in await house.outcomes()] == ["answered", "human", "human"]
    assert (await house.acts().resume(scope), await owner(house)) == (1, "ai")
    await house.settle()
    assert house.sent[2:] == ["re: are you there? + hello?"]
    assert (await changes(house))[-1] == ("Marta", "the AI is not paused any more", "waiting", "ai")


@pytest.mark.parametrize("scope", [number_scope(OURS), thread_scope(1)])
async def test_a_pause_of_one_place_leaves_the_others_to_the_ai(house: House, scope: str) -> None:
    await open_chat(house)
    await house.acts().pause(scope)
    await house.hear("hello by SMS", sender=ANA_SMS, to=OUR_SMS)
    await house.settle()
    assert house.sent == ["re: hello", "re: hello by SMS"]


@EACH_SCOPE
async def test_what_waits_already_when_the_pause_begins_waits_for_a_person(house: House, scope: str) -> None:
    house.responder.script = [RetryLater(60, "down")]
    await house.hear_at_once("hello", sender=ANA)
    await house.turn()
    await house.acts().pause(scope)
    await house.live(120)
    assert (await owner(house), house.sent) == ("waiting", ["<paused>"])
    await house.acts().resume(scope)
    await house.settle()
    assert house.sent == ["<paused>", "re: hello"]


async def test_who_was_taken_over_during_a_pause_stays_with_the_colleague_after_it(house: House) -> None:
    conversation = await open_chat(house)
    await house.acts().pause("all")
    await hear(house, "are you there?")
    await house.acts("Luis").reply(conversation, "Luis here")
    with pytest.raises(ActRefused, match="resume it first"):
        await house.acts("Luis").release(conversation)
    assert await house.acts().resume("all") == 0
    await house.settle()
    assert (await owner(house), house.sent) == ("human Luis", ["re: hello", "<paused>", "Luis here"])


async def test_whom_nobody_takes_during_a_pause_is_told_once_and_not_given_back(house: House) -> None:
    await open_chat(house)
    await house.acts().pause("all")
    await hear(house, "are you there?")
    for seconds in (TAKEN_WITHIN, GIVE_BACK_WITHIN, GIVE_BACK_WITHIN):
        house.clock.advance(seconds)
        await house.upkeep("process_handovers")
        await house.settle()
    assert (await owner(house), house.sent[1:]) == ("waiting", ["<paused>", "<nobody_free>"])
