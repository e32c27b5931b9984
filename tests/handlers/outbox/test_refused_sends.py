"""A send that fails for certain: what is tried again, what is failed with its code."""

from __future__ import annotations

import pytest
from aiohttp import web

from convoq.loopback.faults import refused, slow, too_many
from convoq.queue.base import JobState
from tests.handlers.house import ANA, ANA_SMS, OUR_SMS, OURS, House
from tests.turn.stepping import stepping

ELSEWHERE = "whatsapp:+15550008888"


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


async def opted_out_as_by(house: House, how: str) -> None:
    """In the first of two threads, while a reply waits in the other; `how`: with what the opt-out comes."""
    house.twilio.fail_next(too_many("3600"))
    await house.hear("two", to=ELSEWHERE)
    await house.step()
    if how == "send":
        house.twilio.fail_next(refused(21610))
    await house.hear("one")
    await house.step()
    await house.hear_at_once("three", to=ELSEWHERE)
    if how == "STOP":
        await house.hear_at_once("STOP")
    if how == "status":
        [(sid, reference)] = await house.rows("SELECT provider_id, reference FROM outbox WHERE state = 'sent'")
        await house.report(sid, "undelivered", reference=reference, code=21610)
        await house.step()


@pytest.mark.parametrize("how", ["STOP", "send", "status"])
async def test_an_opt_out_ends_at_once_what_waits_and_pends_in_all_of_the_persons_threads(
    house: House, how: str
) -> None:
    await opted_out_as_by(house, how)
    assert await house.rows("SELECT state, error_code FROM outbox WHERE body = 're: two'") == [("failed", "opted_out")]
    assert ("three", "opted_out") in await house.outcomes()
    assert await house.rows(
        "SELECT c.status, c.closed_reason FROM conversations AS c JOIN threads AS t ON t.id = c.thread_id"
        " WHERE t.our_address = ?", OURS,
    ) == [("closed", "opted_out")]  # fmt: skip


@pytest.mark.parametrize("how", ["STOP", "send", "status"])
async def test_nothing_of_before_an_opt_out_goes_out_after_a_start(house: House, how: str) -> None:
    await opted_out_as_by(house, how)
    await house.hear_at_once("START")
    await house.settle()
    assert house.sent[how != "send" :] == ["re: START"]


async def test_an_opt_out_that_a_fenced_turn_is_told_holds(house: House) -> None:
    house.twilio.fail_next(refused(21610))
    await house.hear_at_once("one")
    async with stepping(house) as steps:
        worker = await steps.claim()
        await worker.until("send")
        await house.change("UPDATE threads SET token = 'of another turn'")
        await worker.finish()
    assert await house.rows("SELECT count(*) FROM contacts WHERE opted_out_at IS NOT NULL") == [(1,)]
    assert await house.rows("SELECT state, error_code FROM outbox") == [("failed", "21610")]


async def test_a_status_that_is_reported_again_opts_nobody_out_again(house: House) -> None:
    await opted_out_as_by(house, "status")
    await house.hear_at_once("START")
    await house.settle()
    [(sid,)] = await house.rows("SELECT provider_id FROM outbox WHERE delivery = 'undelivered'")
    await house.report(sid, "undelivered", code=21610)
    await house.step()
    assert await house.rows("SELECT opted_out_at FROM contacts WHERE address = ?", ANA) == [(None,)]


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


async def test_an_opt_out_that_is_told_after_the_start_that_ended_it_ends_nothing(house: House) -> None:
    await house.hear("hi", sender=ANA_SMS, to=OUR_SMS)
    await house.settle()
    [(sid,)] = await house.rows("SELECT provider_id FROM outbox")
    # No worker runs meanwhile, and what people write is taken in before what the channel tells.
    await house.hear("STOP", sender=ANA_SMS, to=OUR_SMS)
    await house.report(sid, "failed", code=21610)
    house.clock.advance(600)
    await house.hear("START", sender=ANA_SMS, to=OUR_SMS)
    await house.hear("What does it cost?", sender=ANA_SMS, to=OUR_SMS)
    house.clock.advance(60)
    while claims := await house.claim(8, reserve=8):
        for claim in claims:
            await house.handle(claim)
    assert house.sent[-1].endswith("What does it cost?")
    assert await house.rows("SELECT opted_out_at FROM contacts") == [(None,)]
    assert await house.rows("SELECT delivery FROM outbox WHERE provider_id = ?", sid) == [("failed",)]


async def test_an_opt_out_of_a_message_that_was_sent_after_the_start_counts(house: House) -> None:
    for text in ("STOP", "START", "hi"):
        await house.hear(text, sender=ANA_SMS, to=OUR_SMS)
        await house.settle()
        house.clock.advance(1)
    [(sid,)] = await house.rows("SELECT provider_id FROM outbox")
    await house.report(sid, "failed", code=21610)
    await house.settle()
    assert await house.rows("SELECT opted_out_at IS NULL FROM contacts") == [(0,)]
