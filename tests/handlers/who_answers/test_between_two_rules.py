"""Where two rules meet, nobody falls between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from convoq.conversations.acts import Acts
from convoq.conversations.owner_timers import OwnerTimers
from convoq.conversations.ownership import ActRefused
from convoq.db import Database
from convoq.loopback.faults import reset, too_many
from tests.clock import ManualClock
from tests.handlers.house import TIMING, House, open_house
from tests.handlers.who_answers.chats import PERSON_PLEASE, ask_for_person, hear, open_chat, owner
from tests.handovers import GIVE_BACK_WITHIN, HANDOVER, TAKEN_WITHIN

HOUR, DAY = 3600, 86_400  # seconds


@pytest.fixture
async def reopening(database: Database, clock: ManualClock) -> AsyncIterator[House]:
    timing = TIMING.model_copy(update={"reopen_within": float(HOUR)})
    async with open_house(database, clock, handover=HANDOVER, timing=timing) as house:
        yield house


async def test_who_was_blocked_when_the_conversation_expired_is_answered_after_the_unblocking(reopening: House) -> None:
    await open_chat(reopening)
    await reopening.acts().block(1)
    reopening.clock.advance(DAY + HOUR)
    await reopening.upkeep("process_expired")
    await reopening.acts().unblock(1)
    await hear(reopening, "hello again")
    assert (await owner(reopening), reopening.sent) == ("ai", ["re: hello", "re: hello again"])


async def test_an_answer_that_had_not_left_when_the_ai_was_paused_is_given_anew_after_the_pause(house: House) -> None:
    house.twilio.fail_next(too_many())
    await house.hear_at_once("hello")
    await house.turn()
    await house.acts().pause("all")
    await house.settle()
    assert (await owner(house), house.sent) == ("waiting", [])
    await house.acts().resume("all")
    await house.settle()
    assert (await owner(house), house.sent) == ("ai", ["re: hello"])


async def test_a_chat_that_a_person_of_ours_writes_in_is_active(house: House) -> None:
    conversation = await open_chat(house)
    house.clock.advance(1000)
    await house.upkeep("process_idle")
    await house.acts().reply(conversation, "hi")
    assert await house.rows("SELECT status FROM conversations") == [("active",)]


async def test_who_waited_for_a_person_before_a_stop_waits_again_after_a_start(house: House) -> None:
    await ask_for_person(house)
    await hear(house, "STOP", "START")
    assert await awaited(house) == ("waiting", "asked")


async def test_who_waited_for_a_person_before_a_block_waits_again_after_it(house: House) -> None:
    await ask_for_person(house)
    await house.acts().block(1)
    await house.acts().unblock(1)
    assert await awaited(house) == ("waiting", "asked")


async def awaited(house: House) -> tuple[object, ...]:
    """Who answers, and why a person is awaited."""
    newest = "SELECT owner, handed_reason FROM conversations ORDER BY id DESC LIMIT 1"
    return tuple((await house.rows(newest))[0])


async def test_what_a_colleague_answered_instead_of_an_answer_that_never_left_is_the_colleagues(house: House) -> None:
    house.twilio.fail_next(too_many())
    await house.hear_at_once("hello")
    await house.turn()
    await house.acts().take_over(1)
    written = await house.acts().reply(1, "Marta here")
    await house.settle()
    await house.acts().release(1)
    await house.settle()
    assert house.sent == ["Marta here"]
    assert await house.rows("SELECT outcome, answered_by FROM messages WHERE direction = 'in'") == [
        ("human", written.message_id)
    ]
    assert await house.flaws() == []


@pytest.mark.parametrize("accepted", [True, False], ids=["left", "not left"])
async def test_an_answer_that_turns_out_after_the_give_back_not_to_have_left_gives_way_to_the_colleagues(
    house: House, accepted: bool
) -> None:
    house.twilio.fail_next(reset(accepted=accepted))
    await house.hear_at_once("hello")
    await house.turn()
    await house.acts().take_over(1)
    written = await house.acts().reply(1, "Marta here")
    await house.acts().release(1)
    await house.settle()
    answer = [] if not accepted else ["re: hello"]
    assert house.sent == [*answer, "Marta here"]
    [answered] = await house.rows("SELECT outcome, answered_by FROM messages WHERE direction = 'in'")
    assert (answered == ("human", written.message_id)) is not accepted
    assert await house.flaws() == []


async def test_of_two_operators_at_once_one_has_it_and_the_other_is_told_who(house: House) -> None:
    conversation = await open_chat(house)
    both = [house.acts(name).take_over(conversation) for name in ("Marta", "Luis")]
    [refused] = [one for one in await asyncio.gather(*both, return_exceptions=True) if isinstance(one, ActRefused)]
    assert (refused.code, str(refused).partition(" answers")[0]) == ("not_owner", (await owner(house))[6:])


async def test_a_give_back_without_the_turn_that_it_needs_is_none(house: House) -> None:
    conversation = await open_chat(house)
    await house.acts().take_over(conversation)
    await hear(house, "still there?")
    with pytest.raises(ConnectionError):
        await Acts(house.database, house.wall, "Marta", unreachable).release(conversation)
    assert (await owner(house), (await house.outcomes())[-1]) == ("human Marta", ("still there?", "human"))
    assert await house.rows("SELECT act FROM audit") == [("take_over",)]


async def test_nor_is_one_by_a_timer(house: House) -> None:
    await ask_for_person(house)
    house.clock.advance(TAKEN_WITHIN)
    await house.upkeep("process_handovers")
    house.clock.advance(GIVE_BACK_WITHIN)
    with pytest.raises(ConnectionError):
        await OwnerTimers(house.database, house.wall, HANDOVER).run(unreachable, limit=10)
    assert (await owner(house), (await house.outcomes())[-1]) == ("waiting", (PERSON_PLEASE, "human"))


def unreachable(*_: object) -> None:
    """A queue that takes no turn."""
    raise ConnectionError
