"""What failed twice is tried alone: whichever of several messages it is that fails, the others are answered."""

from __future__ import annotations

import pytest

from convoq.ai.base import ReplyContext
from convoq.conversations.choosing import MOST_SHOWN
from convoq.db import Database
from convoq.queue.base import JobFilter, JobState
from tests.clock import ManualClock
from tests.handlers.house import ANA_SMS, OUR_SMS, House, about, open_house, waiting


def poisoned(context: ReplyContext) -> str:
    if "poison" in waiting(context):
        raise RuntimeError("poison")
    return about(context)


async def fail_together(house: House, times: int, *texts: str) -> None:
    """The texts wait, and their turns have failed so often; the next one is due now."""
    house.responder.always = poisoned
    for text in texts:
        await house.hear_at_once(text)
    for _ in range(times):
        await house.step()
        house.clock.advance(await house.due_in() or 0)
    assert house.sent == []


@pytest.mark.parametrize("texts", [("poison", "one", "two"), ("one", "poison", "two"), ("one", "two", "poison")])
async def test_what_failed_together_is_tried_alone_and_only_the_poison_goes_on_failing(
    house: House, texts: tuple[str, ...]
) -> None:
    await fail_together(house, 2, *texts)
    await house.step()
    assert house.sent == ["re: one", "re: two"]
    assert (await house.turn_job()).state is JobState.READY  # the poison's, which backs off


async def test_a_failing_message_does_not_delay_the_next_try_of_another(house: House) -> None:
    await fail_together(house, 2, "poison", "one")
    await house.change("UPDATE messages SET retry_at = ? WHERE body = 'one'", house.clock.now() + 1500)
    await house.step()
    assert (house.sent, await house.due_in()) == ([], 1.5)
    house.clock.advance(1.5)
    await house.step()
    assert house.sent == ["re: one"]


async def test_what_fails_alone_waits_as_long_as_each_failure_says(house: House) -> None:
    await fail_together(house, 2, "poison")
    waits = []
    for _ in range(2):
        await house.step()
        waits.append(await house.due_in() or 0)
        house.clock.advance(waits[-1])
    assert waits == [house.queue.backoff(3), house.queue.backoff(4)]


async def test_a_message_that_no_try_is_left_of_takes_no_neighbour_with_it(
    database: Database, clock: ManualClock
) -> None:
    async with open_house(database, clock, max_tries=3) as house:
        await fail_together(house, 1, "poison")
        await house.change("UPDATE messages SET tries = 2")  # a worker died, too
        await fail_together(house, 0, "one")
        await house.settle()
        assert await house.outcomes() == [("poison", "failed"), ("one", "answered")]


async def test_the_last_of_two_tries_is_made_alone(database: Database, clock: ManualClock) -> None:
    async with open_house(database, clock, max_tries=2) as house:
        await fail_together(house, 1, "one", "poison", "two")
        await house.settle()
        assert await house.outcomes() == [("one", "answered"), ("poison", "failed"), ("two", "answered")]


async def run_now_and_fail(house: House) -> None:
    """An operator has the turn run now while it asks, and it fails all the same."""

    async def run_now(_: ReplyContext) -> str:
        assert await house.engine.run_now(JobFilter()) == 1
        raise RuntimeError("still broken")

    house.responder.script = [run_now]
    await house.turn()


async def test_a_turn_that_is_run_now_while_it_fails_is_tried_at_once(house: House) -> None:
    await fail_together(house, 2, "poison")
    await run_now_and_fail(house)
    house.responder.always = about
    await house.turn()
    assert house.sent == ["re: poison"]


async def test_what_was_run_now_and_fails_again_backs_off(house: House) -> None:
    await fail_together(house, 2, "poison")
    await run_now_and_fail(house)
    await house.turn()
    assert await house.due_in() == house.queue.backoff(4)


async def test_a_turn_that_begins_because_it_is_run_now_backs_off_when_it_fails(house: House) -> None:
    await fail_together(house, 2, "poison")
    await house.turn()
    assert await house.engine.run_now(JobFilter()) == 1
    await house.turn()
    assert await house.due_in() == house.queue.backoff(4)


# --- What need not wait for a turn that backs off


async def test_a_keyword_that_gets_no_answer_does_not_end_the_backoff_of_a_turn(house: House) -> None:
    house.responder.always = poisoned
    for text in ("poison", "HELP"):
        await house.hear_at_once(text, sender=ANA_SMS, to=OUR_SMS)
        await house.turn()
    assert len(house.responder.asked) == 1
    assert await house.due_in() == house.queue.backoff(1)


async def test_a_message_that_is_delivered_again_does_not_end_the_backoff_of_a_turn(house: House) -> None:
    house.responder.always = poisoned
    for _ in range(2):
        await house.hear("poison", sid="SM" + "7" * 32, dedup=False)
        await house.step()
    assert len(house.responder.asked) == 1
    assert await house.due_in() == house.queue.backoff(1)


async def test_what_a_full_turn_has_no_room_for_does_not_end_its_backoff(house: House) -> None:
    house.responder.always = RuntimeError("broken")
    for number in range(MOST_SHOWN):
        await house.hear(str(number))
    while await house.take_in():
        pass
    await house.turn()
    await house.hear("one more")
    await house.step()
    assert len(house.responder.asked) == 1


async def test_a_newer_message_ends_the_backoff_of_a_turn(house: House) -> None:
    house.responder.script = [RuntimeError("broken")]
    for text in ("one", "two"):
        await house.hear(text)
        await house.step()
    assert house.sent == ["re: one + two"]
