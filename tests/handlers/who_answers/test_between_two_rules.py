"""Where two rules meet, nobody falls between them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from convoq.db import Database
from convoq.loopback.faults import too_many
from tests.clock import ManualClock
from tests.handlers.house import TIMING, House, open_house
from tests.handlers.who_answers.chats import hear, open_chat, owner
from tests.handovers import HANDOVER

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
