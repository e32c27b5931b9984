"""A Twilio that stays away costs no attempts for an hour."""

from __future__ import annotations

from convoq.jobs import MOST_ATTEMPTS
from convoq.loopback.faults import too_many
from convoq.queue.base import JobFilter, JobState
from tests.handlers.house import ANA_SMS, OUR_SMS, House


async def test_a_twilio_that_is_down_costs_no_attempts_for_an_hour(house: House) -> None:
    house.twilio.fault = too_many(None)
    await house.hear("hello")
    begun = house.clock.now()
    while house.clock.now() - begun < 3_590_000:
        await house.step()
        assert (await house.turn_job()).attempt == 0
        house.clock.advance(await house.due_in() or 0)
    house.twilio.fault = None
    await house.settle()
    assert house.sent == ["re: hello"]


async def test_the_pauses_grow_while_a_twilio_stays_away(house: House) -> None:
    house.twilio.fault = too_many(None)
    await house.hear("hello")
    pauses = []
    for _ in range(30):
        await house.step()
        pauses.append(await house.due_in() or 0.0)
        house.clock.advance(pauses[-1])
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (1.0, 60.0)


async def test_after_an_hour_each_try_costs_an_attempt(house: House) -> None:
    house.twilio.fault = too_many(None)
    await house.hear("hello")
    await house.settle()
    record = await house.turn_job()
    assert (record.state, record.attempt) == (JobState.DEAD, MOST_ATTEMPTS)


async def test_a_dead_letter_that_is_retried_sends_what_was_drafted(house: House) -> None:
    house.twilio.fault = too_many(None)
    await house.hear("hello", sender=ANA_SMS, to=OUR_SMS)
    await house.settle()
    house.twilio.fault = None
    await house.engine.retry_dead(JobFilter(states=(JobState.DEAD,)))
    await house.settle()
    assert (house.sent, len(house.responder.asked)) == (["re: hello"], 1)
