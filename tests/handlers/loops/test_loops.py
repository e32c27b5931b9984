"""The AI does not talk to a machine: what writes like one is on record and gets no answer, and a person of ours hears
of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from convoq.ai.base import Reply, ReplyContext
from convoq.clock import WallClock
from convoq.conversations.catching_up import CatchUp
from convoq.conversations.loops import LoopRules
from convoq.conversations.pausing import AiPause, list_pauses, thread_scope
from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from tests.clock import ManualClock
from tests.handlers.house import ANA, ANA_SMS, BEN, OUR_SMS, OURS, House, open_house
from tests.handovers import HANDOVER

MOST = 12
OTHER = "+15550008888"
UNEVEN = (9, 30, 4, 61, 12, 7, 100, 20, 5, 44, 3, 80, 15, 6)


@pytest.fixture
async def house(database: Database | PostgresDatabase, clock: ManualClock) -> AsyncIterator[House]:
    async with open_house(database, clock, handover=HANDOVER, loops=LoopRules(True, MOST)) as house:
        yield house


async def pauses(house: House) -> list[AiPause]:
    return await house.database.read(list_pauses)


async def outcome(house: House) -> str | None:
    """Of what came last."""
    return (await house.outcomes())[-1][1]


async def test_a_machine_that_answers_at_once_is_left_alone_after_nine_messages(house: House) -> None:
    for number in range(71):
        await house.hear(f"{'abcdefghij'[number % 10]} says hello {'klm' * number}")
        await house.settle()
    assert len(house.responder.asked) == 8
    assert house.sent[-1] == "<paused>"
    assert (len(house.sent), await outcome(house)) == (9, "human")
    [pause] = await pauses(house)
    assert (pause.who, pause.reason) == ("loop guard", "8 answers in a row, each within 2 s")


async def test_a_machine_that_says_the_same_again_is_left_alone(house: House) -> None:
    for seconds in UNEVEN[:6]:
        await house.hear(f"I am out of office, ticket {seconds}")
        await house.settle()
        house.clock.advance(seconds)
    assert (len(house.responder.asked), len(await pauses(house))) == (5, 1)


async def test_no_person_gets_more_replies_in_an_hour_than_the_settings_say(house: House) -> None:
    for number, seconds in enumerate(UNEVEN):
        await house.hear(f"{'abcdefghijklmn'[number]} is my question")
        await house.settle()
        house.clock.advance(seconds)
    assert len(house.responder.asked) == MOST
    [pause] = await pauses(house)
    assert pause.reason == "12 replies in an hour (loops.max_replies_per_hour)"


async def test_replies_of_more_than_an_hour_ago_do_not_count(house: House) -> None:
    for number in range(2 * MOST):
        await house.hear(f"{'abcdefghijklmnopqrstuvwxyz'[number]} is my question")
        await house.settle()
        house.clock.advance(3600 / MOST + UNEVEN[number % 10])
    assert (len(house.responder.asked), await pauses(house)) == (2 * MOST, [])


class SaysGoodbye:
    """Ends the conversation with each answer, so that the next message begins a new one."""

    async def warm(self) -> None: ...

    async def reply(self, context: ReplyContext) -> Reply:
        return Reply(f"Goodbye, {context.conversation_id}!", "scripted", ends=True)

    async def close(self) -> None: ...


async def test_a_machine_is_left_alone_also_where_each_of_its_messages_begins_a_conversation(house: House) -> None:
    house.responder.instead = SaysGoodbye()
    for seconds in UNEVEN[:7]:
        await house.hear(f"Thank you for your message, ticket {seconds}. Bye!")
        await house.settle()
        house.clock.advance(seconds)
    assert await house.rows("SELECT count(*) FROM conversations") == [(6,)]
    assert len(house.responder.asked) == 5
    [pause] = await pauses(house)
    assert pause.reason == "nearly the same message 5 times in a row"


async def test_who_writes_the_same_each_day_is_no_machine(house: House) -> None:
    house.responder.instead = SaysGoodbye()
    for _ in range(7):
        await house.hear("Good morning, is my order ready?")
        await house.settle()
        house.clock.advance(86_400)
    assert (len(house.responder.asked), await pauses(house)) == (7, [])


async def test_replies_to_one_person_count_together_by_whatsapp_and_by_sms(house: House) -> None:
    for number, seconds in enumerate(UNEVEN):
        sender, ours = [(ANA, OURS), (ANA_SMS, OUR_SMS)][number % 2]
        await house.hear(f"{'abcdefghijklmn'[number]} is my question", sender=sender, to=ours)
        await house.settle()
        house.clock.advance(seconds)
    assert len(house.responder.asked) == MOST
    assert [pause.reason for pause in await pauses(house)] == ["12 replies in an hour (loops.max_replies_per_hour)"] * 2


async def test_once_resumed_in_one_chat_replies_of_the_other_are_forgotten_too(house: House) -> None:
    for number, seconds in enumerate(UNEVEN[: MOST + 1]):
        sender, ours = [(ANA, OURS), (ANA_SMS, OUR_SMS)][number % 2]
        await house.hear(f"{'abcdefghijklmn'[number]} is my question", sender=sender, to=ours)
        await house.settle()
        house.clock.advance(seconds)
    [pause] = await pauses(house)
    await house.acts().resume(pause.scope)
    await house.settle()
    assert (len(house.responder.asked), await pauses(house)) == (MOST + 1, [])


async def test_other_people_are_answered_on(house: House) -> None:
    for _ in range(6):
        await house.hear("I am out of office until Monday")
        await house.settle()
    await house.hear("hello", sender=BEN)
    await house.settle()
    assert house.sent[-1] == "re: hello"


async def test_once_resumed_it_is_answered_again_and_what_came_meanwhile_too(house: House) -> None:
    for _ in range(7):
        await house.hear("I am out of office until Monday")
        await house.settle()
    [pause] = await pauses(house)
    await house.acts().resume(pause.scope)
    await house.settle()
    assert house.sent[-1] == "re: I am out of office until Monday + I am out of office until Monday"
    await house.hear("hello, here is Ana")
    await house.settle()
    assert (house.sent[-1], await pauses(house)) == ("re: hello, here is Ana", [])


async def test_a_pause_of_the_loop_guard_is_of_that_chat_alone_and_no_timer_ends_it(house: House) -> None:
    for _ in range(6):
        await house.hear("I am out of office until Monday")
        await house.settle()
    [(thread,)] = await house.rows("SELECT id FROM threads")
    assert [pause.scope for pause in await pauses(house)] == [thread_scope(thread)]
    house.clock.advance(86_000)
    await house.upkeep("process_handovers")
    await house.settle()
    house.clock.advance(86_000)
    await house.upkeep("process_handovers")
    await house.settle()
    assert len(house.responder.asked) == 5


@pytest.mark.parametrize("sender", [OURS, OUR_SMS])
async def test_a_message_from_a_number_of_ours_is_on_record_and_never_answered(house: House, sender: str) -> None:
    await house.hear("hello")
    await house.settle()
    for text in ("hello", "STOP"):
        await house.hear(text, sender=sender)
        await house.settle()
    assert house.sent == ["re: hello"]
    assert (await house.outcomes())[1:] == [("hello", "ours"), ("STOP", "ours")]


async def test_a_number_that_we_have_only_written_from_is_ours(house: House) -> None:
    await house.send("welcome", to=ANA_SMS, sender=OUR_SMS)
    await house.settle()
    await house.hear("hello", sender=OUR_SMS, to=OTHER)
    await house.settle()
    assert (house.sent, await outcome(house)) == (["welcome"], "ours")


async def test_the_first_message_to_a_number_that_we_had_only_written_from_makes_it_one_to_catch_up_with(
    house: House,
) -> None:
    await house.send("welcome", to=ANA_SMS, sender=OUR_SMS)
    await house.settle()
    catching_up = CatchUp(house.database)
    assert await catching_up.addresses(WallClock().now()) == []
    before = WallClock().now()
    await house.hear("hello", sender=ANA_SMS, to=OUR_SMS)
    await house.settle()
    [address] = await catching_up.addresses(WallClock().now())
    assert address.since >= before


@pytest.mark.parametrize("sender", [ANA, ANA_SMS])
async def test_a_number_in_the_settings_is_ours_before_anybody_has_written_to_it(
    database: Database | PostgresDatabase, clock: ManualClock, sender: str
) -> None:
    async with open_house(database, clock, ours=[ANA]) as house:
        await house.hear("hello", sender=sender)
        await house.settle()
        assert (house.sent, await outcome(house)) == ([], "ours")
