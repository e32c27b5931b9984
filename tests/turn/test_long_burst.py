"""One person who writes ten thousand messages: answered turn by turn, each shown to the model before it is answered."""

from __future__ import annotations

import asyncio

import pytest

from convoq.ai.base import Author, ReplyContext
from convoq.conversations.choosing import MOST_CHARACTERS, MOST_SHOWN, OVERTAKEN_AT
from convoq.errors import Snooze
from convoq.handlers.base import ClaimContext
from tests.handlers.house import House
from tests.stores import on_each

HISTORY = 100  # lines of a prompt at most


@on_each("messages", sqlite=[10_000], postgres=[1_000])
async def test_ten_thousand_messages_are_answered_turn_by_turn(house: House, messages: int) -> None:
    shown: set[str] = set()

    async def answer(context: ReplyContext) -> str:
        assert len(context.lines) <= HISTORY
        shown.update(line.text for line in context.lines if line.author is Author.CONTACT)
        answered = await house.rows("SELECT body FROM messages WHERE outcome = 'answered' ORDER BY id")
        assert {body for (body,) in answered} <= shown
        return "yes"

    house.responder.always = answer
    for start in range(0, messages, 500):
        await asyncio.gather(*(house.hear(f"message {number}") for number in range(start, start + 500)))
    while await house.take_in():
        pass
    await house.settle()
    assert await house.rows("SELECT outcome, count(*) FROM messages WHERE direction = 'in' GROUP BY 1") == [
        ("answered", messages)
    ]
    assert len(shown) == messages
    assert len(house.responder.asked) == len(house.sent) == messages // MOST_SHOWN


async def test_of_long_messages_no_more_are_shown_together_than_a_prompt_takes(house: House) -> None:
    for number in range(5):
        await house.hear(str(number) * (MOST_CHARACTERS // 2))
    while await house.take_in():
        pass
    house.responder.always = lambda _: "yes"
    await house.settle()
    assert len(house.responder.asked) == 3
    assert {outcome for _, outcome in await house.outcomes()} == {"answered"}


async def test_a_burst_that_fails_is_tried_again_after_its_backoff(house: House) -> None:
    for number in range(MOST_SHOWN + 1):
        await house.hear(str(number))
    while await house.take_in():
        pass
    house.responder.always = RuntimeError("broken")
    await house.turn()
    assert len(house.responder.asked) == 1
    assert await house.due_in() == house.queue.backoff(1)


async def test_what_a_failing_burst_leaves_waits_for_no_backoff_once_that_is_overtaken(house: House) -> None:
    for number in range(MOST_SHOWN + 1):
        await house.hear(str(number))
    while await house.take_in():
        pass
    house.responder.script = [RuntimeError("broken")] * OVERTAKEN_AT
    await house.turn()
    house.clock.advance(house.queue.backoff(1))
    await house.turn()
    assert house.sent == [f"re: {MOST_SHOWN}"]


async def test_a_worker_that_stops_answers_no_more_than_it_was_at(house: House) -> None:
    for number in range(MOST_SHOWN + 1):
        await house.hear(str(number))
    while await house.take_in():
        pass
    [claim] = await house.claim(1)
    context = ClaimContext(claim, house.queue)
    context.stopping = True
    with pytest.raises(Snooze):
        await house.handlers[claim.kind](context)
    assert len(house.sent) == 1
    await house.queue.release(claim)
    await house.settle()
    assert len(house.sent) == 2
