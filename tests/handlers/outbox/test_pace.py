"""No sender sends faster than it may, whoever sends for it, and what waits for that holds nobody up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from convoq.conversations.pacing import BURST_MS, OperatorText, Paced, Pacing, held_senders
from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from convoq.loopback.faults import too_many
from tests.clock import ManualClock
from tests.handlers.house import ANA, OURS, House, open_house
from tests.stores import on_each

EACH = 500  # ms of airtime
OTHER = "whatsapp:+15550008888"


def airtime(message: Paced) -> int:
    return EACH if message.our_address == OURS else 0


@pytest.fixture
async def house(database: Database | PostgresDatabase, clock: ManualClock) -> AsyncIterator[House]:
    async with open_house(database, clock, airtime=airtime) as house:
        yield house


def person(number: int) -> str:
    return f"whatsapp:+1555100{number:04}"


async def begun(house: House) -> list[int]:
    """When each send was begun."""
    return sorted(at for (at,) in await house.rows("SELECT attempted_at FROM outbox WHERE attempted_at IS NOT NULL"))


def too_fast(moments: list[int], each: int) -> list[tuple[int, int]]:
    """The pairs of moments between which more was sent than the rate and the burst let through."""
    return [
        (start, end)
        for first, start in enumerate(moments)
        for last, end in enumerate(moments[first:], first)
        if (last - first) * each > end - start + BURST_MS
    ]


async def handle_at_once(house: House) -> None:
    """All that is due, as by as many workers."""
    await house.take_in()
    await asyncio.gather(*(house.handle(claim) for claim in await house.claim(100)))


@on_each("seed", sqlite=range(4), postgres=range(1))
async def test_in_no_time_is_more_sent_than_the_rate_lets_through(house: House, seed: int) -> None:
    random = Random(seed)  # to be repeated
    for number in range(30):
        await house.hear("hello", sender=person(number))
        if random.random() < 0.3:
            await handle_at_once(house)
            house.clock.advance(random.choice((0.1, 0.7, 3.0)))
    while (due := await house.due_in()) is not None:
        house.clock.advance(due + random.choice((0, 0, 0.05, 5.0)))  # workers are late at times
        await handle_at_once(house)
    assert len(house.sent) == 30
    assert too_fast(await begun(house), EACH) == []


async def test_a_send_that_has_to_be_tried_again_takes_its_time_again(house: House) -> None:
    house.twilio.fail_next(too_many("1"), times=6)
    for number in range(6):
        await house.hear("hello", sender=person(number))
    await house.settle()
    assert len(house.sent) == 6
    assert too_fast(await begun(house), EACH) == []


async def test_what_waits_comes_one_after_the_other_and_not_all_at_once(house: House) -> None:
    for number in range(20):
        await house.hear("hello", sender=person(number))
    claims = 0
    while (due := await house.due_in()) is not None:
        house.clock.advance(due)
        claims += await house.step()
    assert len(house.sent) == 20
    assert claims <= 20 + 3 * 20  # recorded, answered, and delivered after one wait, at most two


async def test_who_waits_goes_before_who_comes(house: House) -> None:
    for number in range(6):
        await house.hear("hello", sender=person(number))
        await house.step()
    house.clock.advance(0.5)
    await house.hear("am I first?", sender=ANA)
    await house.settle()
    assert [message.to for message in house.twilio.messages] == [*map(person, range(6)), ANA]


async def test_while_one_sender_waits_another_one_sends(house: House) -> None:
    for number in range(6):
        await house.hear("hello", sender=person(number))
    await house.hear("hello", sender=ANA, to=OTHER)
    await house.step()
    assert ANA in [message.to for message in house.twilio.messages]
    assert len(house.sent) < 7


async def test_a_reply_that_waits_for_its_turn_is_on_record_and_a_stop_still_holds_it(house: House) -> None:
    for number in range(5):
        await house.hear("hello", sender=person(number))
    await house.hear("hello", sender=ANA)
    await house.step()
    assert (await house.outcomes())[-1] == ("hello", "answered")
    await house.hear("STOP", sender=ANA)
    await house.settle()
    assert ANA not in [message.to for message in house.twilio.messages]


async def test_the_parts_of_one_answer_keep_to_the_rate_too(house: House) -> None:
    house.responder.script = ["word " * 1200]
    await house.hear("hello")
    await house.settle()
    moments = await begun(house)
    assert len(moments) == 4
    assert too_fast(moments, EACH) == []


async def test_it_can_be_seen_which_sender_waits_and_until_when(house: House) -> None:
    for number in range(6):
        await house.hear("hello", sender=person(number))
    await house.step()
    [sender] = await house.database.read(held_senders, house.clock.now())
    assert (sender.our_address, sender.until) == (OURS, house.clock.now() + 4 * EACH)
    await house.settle()
    house.clock.advance(EACH)
    assert await house.database.read(held_senders, house.clock.now()) == []


async def test_what_an_operator_is_texted_takes_the_numbers_airtime(house: House) -> None:
    await house.unwoken_acts("root").add_operator("Marta")
    await house.unwoken_acts("root").set_phone("Marta", "+15557770001")
    for _ in range(3):  # as many as the burst lets through
        await house.hear("/list", sender="whatsapp:+15557770001")
        await house.step()
    assert len(house.sent) == 3
    await house.hear("hello")
    await house.step()
    assert (len(house.sent), await house.due_in()) == (3, 0.5)


async def test_an_operators_text_waits_for_its_turn_and_what_comes_later_waits_for_it(house: House) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        house.clock.advance(seconds)

    pacing, text = Pacing(house.database, airtime, sleep), OperatorText("twilio", OURS, "somebody waits")
    for number in range(4):
        await house.hear("hello", sender=person(number))
    await handle_at_once(house)  # three are sent, and the fourth is due in half a second
    await pacing.wait(text)
    assert slept == [1.0]
    await house.settle()
    await pacing.wait(text._replace(our_address=OTHER))
    assert (slept, too_fast([*await begun(house), house.clock.now()], EACH)) == ([1.0], [])


async def test_an_operators_text_goes_before_its_turn_where_that_is_far(house: House) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    pacing = Pacing(house.database, lambda _: 60_000, sleep)
    for _ in range(2):
        await pacing.wait(OperatorText("twilio", OURS, "somebody waits"))
    assert slept == [30.0]
