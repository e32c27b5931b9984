"""A send that fails for certain: what is tried again, what is failed with its code."""

from __future__ import annotations

from aiohttp import web

from convoq.loopback.faults import refused, slow, too_many
from convoq.queue.base import JobState
from tests.handlers.house import ANA_SMS, OUR_SMS, House


async def test_too_many_requests_is_sent_once_later(house: House) -> None:
    house.twilio.fail_next(too_many("7"))
    await house.hear("hello")
    await house.step()
    assert (house.sent, await house.due_in()) == ([], 7.0)
    await house.settle()
    assert (house.sent, house.twilio.requests) == (["re: hello"], 2)


async def test_too_many_requests_asks_twilio_nothing_else(house: House) -> None:
    house.twilio.fail_next(too_many())
    await house.hear("hello")
    await house.settle()
    assert house.twilio.reads == 0


async def test_a_twilio_that_cannot_be_reached_is_tried_again(house: House) -> None:
    port = house.twilio._port
    assert house.twilio._runner is not None
    await house.hear("hello")
    for site in list(house.twilio._runner.sites):
        await site.stop()
    await house.step()
    assert await house.outbox_states() == ["ready"]
    await web.TCPSite(house.twilio._runner, "127.0.0.1", port).start()
    await house.settle()
    assert house.sent == ["re: hello"]


async def test_a_message_that_is_refused_for_good_is_failed_with_its_code(house: House) -> None:
    house.twilio.fail_next(refused(63003))
    job_id = await house.hear("hello")
    await house.settle()
    assert await house.rows("SELECT state, error_code FROM outbox") == [("failed", "63003")]
    assert ((await house.job(job_id)).state, house.twilio.requests) == (JobState.DONE, 1)


async def test_no_later_part_follows_a_part_that_is_refused(house: House) -> None:
    house.responder.script = ["many words " * 400]
    house.twilio.fail_next(slow(0))
    house.twilio.fail_next(refused(63003))
    await house.hear("hello")
    await house.settle()
    assert await house.outbox_states() == ["sent", "failed", "failed"]
    assert len(house.sent) == 1


async def test_the_next_message_is_answered_after_a_refused_one(house: House) -> None:
    house.twilio.fail_next(refused(63003))
    await house.hear("one")
    await house.settle()
    await house.hear("two")
    await house.settle()
    assert house.sent == ["re: two"]


async def test_a_refusal_because_of_an_opt_out_is_remembered(house: House) -> None:
    house.twilio.fail_next(refused(21610))
    await house.hear("hello", sender=ANA_SMS, to=OUR_SMS)
    await house.settle()
    assert await house.rows("SELECT opted_out_at FROM contacts") == [(house.clock.now(),)]


async def test_nothing_more_is_sent_after_an_opt_out_that_twilio_told_us(house: House) -> None:
    house.twilio.refuses = {ANA_SMS: 21610}
    await house.hear("hello", sender=ANA_SMS, to=OUR_SMS)
    await house.settle()
    await house.hear("and?", sender=ANA_SMS, to=OUR_SMS)
    await house.settle()
    assert house.twilio.requests == 1


async def test_a_refused_account_holds_everything_without_costing_attempts(house: House) -> None:
    house.twilio.fail_next(refused(20003, 401), times=20)
    await house.hear("hello")
    for _ in range(20):
        await house.step()
        assert (await house.turn_job()).attempt == 0
        assert await house.due_in() == 60.0
        house.clock.advance(60)
    await house.step()
    assert house.sent == ["re: hello"]
