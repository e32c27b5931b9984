"""Sending: each part once, in order, looked for before it is sent again; and who may not be written to."""

from __future__ import annotations

import pytest
from aiohttp import web

from convoq.channels.base import Outbound, Sent
from convoq.handlers.base import Work
from convoq.loopback.twilio import Fault, error, garbage, hang, refused, reset, slow, too_many
from convoq.queue.base import JobFilter, State
from tests.handlers.house import ANA, ANA_SMS, BEN, OUR_SMS, RECONCILE_AFTER, REQUEST_TIMEOUT, House

DAY = 86_400.0

ACCEPTED = [
    reset(accepted=True),
    error(accepted=True),
    error(accepted=True, status=503),
    garbage(accepted=True),
    hang(),
]
NOT_ACCEPTED = [reset(accepted=False), error(accepted=False), garbage(accepted=False), hang(accepted=False)]


def name(fault: Fault) -> str:
    return f"{fault.answer}-{fault.status}"


# --- A send that fails for certain


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
    assert ((await house.job(job_id)).state, house.twilio.requests) == (State.DONE, 1)


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
    job_id = await house.hear("hello")
    for _ in range(20):
        await house.step()
        assert (await house.job(job_id)).attempt == 0
        assert await house.due_in() == 60.0
        house.clock.advance(60)
    await house.step()
    assert house.sent == ["re: hello"]


# --- A send whose outcome is unknown


@pytest.mark.parametrize("fault", ACCEPTED, ids=name)
async def test_a_message_that_was_taken_is_not_sent_again(house: House, fault: Fault) -> None:
    house.twilio.fail_next(fault)
    await house.hear("hello")
    await house.settle()
    assert house.sent == ["re: hello"]
    assert await house.rows("SELECT state, provider_id, reconciled FROM outbox") == [
        ("sent", house.twilio.messages[0].sid, 1)
    ]


@pytest.mark.parametrize("fault", NOT_ACCEPTED, ids=name)
async def test_a_message_that_was_not_taken_is_sent_again_once(house: House, fault: Fault) -> None:
    house.twilio.fail_next(fault)
    await house.hear("hello")
    await house.settle()
    assert (house.sent, house.twilio.requests) == (["re: hello"], 2)


@pytest.mark.parametrize("fault", [reset(), reset(accepted=False)], ids=["taken", "not taken"])
async def test_the_parts_stay_in_order_around_an_unknown_outcome(house: House, fault: Fault) -> None:
    text = " ".join(f"sentence {number}." for number in range(300))
    house.responder.script = [text]
    house.twilio.fail_next(slow(0))
    house.twilio.fail_next(fault)
    await house.hear("hello")
    await house.settle()
    assert "".join(house.sent) == text


async def test_twilio_is_not_asked_before_it_can_know(house: House) -> None:
    house.twilio.fail_next(reset())
    await house.hear("hello")
    await house.step()
    assert (await house.due_in(), await house.outbox_states()) == (RECONCILE_AFTER, ["ambiguous"])
    house.clock.advance(RECONCILE_AFTER - 1)
    await house.hear("more")
    await house.step()
    assert house.twilio.reads == 0


async def test_a_twilio_that_fails_to_look_is_asked_again(house: House) -> None:
    house.twilio.fail_next(reset())
    house.twilio.fail_next(Fault(accepts=False, answer="error", on="read"), times=3)
    await house.hear("hello")
    await house.settle()
    assert house.sent == ["re: hello"]


async def test_a_look_that_the_account_is_refused_costs_no_attempt(house: House) -> None:
    house.twilio.fail_next(reset())
    house.twilio.fail_next(Fault(accepts=False, answer="error", status=401, code=20003, on="read"), times=30)
    job_id = await house.hear("hello")
    await house.settle()
    assert (house.sent, (await house.job(job_id)).attempt) == (["re: hello"], 1)


async def test_an_equal_text_that_was_sent_before_is_not_taken_for_this_one(house: House) -> None:
    house.responder.script = ["OK", "OK"]
    await house.hear("one")
    await house.settle()
    house.twilio.fail_next(reset(accepted=False))
    await house.hear("two")
    await house.settle()
    assert house.sent == ["OK", "OK"]
    ids = {provider_id for (provider_id,) in await house.rows("SELECT provider_id FROM outbox")}
    assert ids == {message.sid for message in house.twilio.messages}


async def test_a_process_that_died_while_sending_leaves_a_part_that_is_looked_for(house: House) -> None:
    await house.hear("hello")
    [claim] = await house.queue.claim(1, worker="dead")
    send = house.channel.send

    async def then_die(message: object) -> object:
        house.channel.send = send  # type: ignore[method-assign] # once
        await send(message)  # type: ignore[arg-type] # handed through
        raise BaseExceptionGroup("the process is gone", [KeyboardInterrupt()])

    house.channel.send = then_die  # type: ignore[method-assign,assignment] # see above
    with pytest.raises(BaseExceptionGroup):
        await house.handlers["process_ai_response"](Work(claim, house.queue))
    assert await house.outbox_states() == ["sending"]
    house.clock.advance(61)
    await house.settle()
    assert (house.sent, await house.outbox_states()) == (["re: hello"], ["sent"])


async def test_a_send_of_a_dead_process_that_is_taken_late_is_not_sent_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, requests = house.channel.send, []

    async def then_die(message: Outbound) -> Sent:
        requests.append(message)
        raise BaseExceptionGroup("the process is gone", [KeyboardInterrupt()])

    monkeypatch.setattr(house.channel, "send", then_die)
    job_id = await house.hear("hello")
    [claim] = await house.queue.claim(1, worker="dead")
    with pytest.raises(BaseExceptionGroup):
        await house.handlers["process_ai_response"](Work(claim, house.queue))
    monkeypatch.setattr(house.channel, "send", send)
    await house.queue.release(claim)
    house.clock.advance(REQUEST_TIMEOUT)
    await house.step()
    assert (house.twilio.reads, (await house.job(job_id)).attempt) == (0, 0)
    assert await house.due_in() == RECONCILE_AFTER
    await send(requests[0])
    await house.settle()
    assert (house.sent, house.twilio.reads) == (["re: hello"], 1)


async def test_a_newer_message_waits_until_the_part_before_is_settled(house: House) -> None:
    house.twilio.fail_next(reset(accepted=False))
    await house.hear("one")
    await house.step()
    await house.hear("two")
    await house.settle()
    assert house.sent == ["re: one", "re: two"]


async def test_a_process_that_slept_before_its_request_does_not_send_late(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = house.outbox.begin

    async def oversleep(*args: object) -> int | None:
        begun = await begin(*args)  # type: ignore[arg-type] # handed through
        monkeypatch.setattr(house.outbox, "begin", begin)
        house.clock.advance(30)
        return begun

    monkeypatch.setattr(house.outbox, "begin", oversleep)
    await house.hear("hello")
    await house.settle()
    assert house.sent == ["re: hello"]


async def test_who_lost_the_lane_while_asleep_sends_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = house.outbox.begin

    async def oversleep(*args: object) -> int | None:
        begun = await begin(*args)  # type: ignore[arg-type] # handed through
        monkeypatch.setattr(house.outbox, "begin", begin)
        house.clock.advance(90)
        assert len(await house.queue.claim(1, worker="another")) == 1
        return begun

    monkeypatch.setattr(house.outbox, "begin", oversleep)
    await house.hear("hello")
    await house.step()
    assert house.twilio.requests == 0


# --- WhatsApp's window


async def test_whatsapp_takes_a_message_within_24_hours(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    house.clock.advance(DAY - 1)
    await house.send("are you coming?")
    await house.step()
    assert house.sent[-1] == "are you coming?"


async def test_after_24_hours_nothing_is_sent_to_whatsapp(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    house.clock.advance(DAY)
    await house.send("are you coming?")
    await house.step()
    assert house.sent == ["re: hello"]
    assert (await house.rows("SELECT state, error_code FROM outbox"))[-1] == ("failed", "window")


async def test_the_window_is_judged_at_the_moment_of_sending(house: House) -> None:
    house.twilio.fail_next(too_many("3600"))
    await house.hear("hello")
    await house.step()
    house.clock.advance(DAY)
    await house.settle()
    assert (house.sent, await house.outbox_states()) == ([], ["failed"])


async def test_the_window_outlives_the_conversation_it_was_opened_in(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    house.clock.advance(3600)
    await house.store.close_expired(silent_for=1800, limit=10)
    house.clock.advance(60)
    await house.send("your order is ready")
    await house.step()
    assert house.sent[-1] == "your order is ready"


async def test_an_sms_has_no_window(house: House) -> None:
    await house.send("hello", to=ANA_SMS, sender=OUR_SMS)
    await house.step()
    assert house.sent == ["hello"]


async def test_whatsapp_to_somebody_who_never_wrote_is_not_sent(house: House) -> None:
    await house.send("hello")
    await house.step()
    assert (house.sent, await house.outbox_states()) == ([], ["failed"])


# --- Messages of our own


async def test_a_message_of_our_own_comes_in_its_conversations_order(house: House) -> None:
    await house.hear("one")
    await house.send("a notice")
    await house.hear("two")
    await house.settle()
    assert house.sent == ["re: one", "a notice", "re: two"]


async def test_a_message_of_our_own_is_sent_once_however_often_its_job_runs(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    house.twilio.fail_next(too_many("1"))
    await house.send("a notice")
    await house.settle()
    assert house.sent == ["re: hello", "a notice"]


async def test_several_messages_of_our_own_keep_their_order(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    for number in range(5):
        await house.send(str(number))
    house.twilio.fail_next(too_many("1"))
    await house.settle()
    assert house.sent[1:] == ["0", "1", "2", "3", "4"]


async def test_two_equal_messages_of_our_own_are_two(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    await house.send("ping")
    await house.send("ping")
    await house.settle()
    assert house.sent[1:] == ["ping", "ping"]


async def test_a_long_message_of_our_own_is_split(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    await house.send("word " * 500)
    await house.settle()
    assert "".join(house.sent[1:]) == "word " * 500


@pytest.mark.parametrize("body", ["", "  \n"])
async def test_an_empty_message_of_our_own_is_a_dead_letter(house: House, body: str) -> None:
    await house.hear("hello")
    await house.settle()
    await house.send(body)
    await house.send("good")
    await house.settle()
    assert [record.error for record in await house.dead()] == ["the body is empty"]
    assert house.sent[-1] == "good"


@pytest.mark.parametrize(("column", "code"), [("opted_out_at", "opted_out"), ("blocked_at", "blocked")])
async def test_who_may_not_be_written_to_is_not(house: House, column: str, code: str) -> None:
    await house.hear("hello")
    await house.settle()
    await house.change(f"UPDATE contacts SET {column} = 1")
    await house.send("a notice")
    await house.step()
    assert house.sent == ["re: hello"]
    assert (await house.rows("SELECT error_code FROM outbox"))[-1] == (code,)


async def test_a_person_who_owns_the_conversation_may_still_write(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    await house.change("UPDATE conversations SET owner = 'human'")
    await house.send("this is Eva")
    await house.step()
    assert house.sent[-1] == "this is Eva"


async def test_the_ai_sees_what_we_wrote(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    await house.send("your table is booked")
    await house.settle()
    await house.hear("thanks")
    await house.settle()
    assert ("system", "your table is booked") in [(line.author, line.text) for line in house.responder.asked[1].lines]


async def test_an_unknown_outcome_of_one_person_holds_up_nobody_else(house: House) -> None:
    house.twilio.fail_next(reset())
    await house.hear("from Ana")
    await house.step()
    await house.hear("from Ben", sender=BEN)
    await house.step()
    assert (house.twilio.messages[-1].to, house.twilio.messages[0].to) == (BEN, ANA)


# --- Delivery statuses


async def sent_row(house: House) -> tuple[str, str]:
    """A message that is sent: its id at Twilio and our reference."""
    await house.hear("hello")
    await house.settle()
    [(provider_id, reference)] = await house.rows("SELECT provider_id, reference FROM outbox")
    return provider_id, reference


async def delivery(house: House) -> tuple[str | None, str | None]:
    [row] = await house.rows("SELECT delivery, error_code FROM outbox")
    return row[0], row[1]


async def test_a_delivery_status_is_written_down(house: House) -> None:
    sid, reference = await sent_row(house)
    await house.report(sid, "delivered", reference=reference)
    await house.settle()
    assert await delivery(house) == ("delivered", None)


@pytest.mark.parametrize(
    ("order", "last"),
    [
        (["sent", "delivered", "read"], "read"),
        (["read", "delivered", "sent"], "read"),
        (["delivered", "queued"], "delivered"),
        (["undelivered", "sent"], "undelivered"),
        (["failed", "delivered"], "failed"),
        (["delivered", "word-that-twilio-added-since"], "delivered"),
    ],
)
async def test_delivery_goes_forward_only(house: House, order: list[str], last: str) -> None:
    sid, reference = await sent_row(house)
    for status in order:
        await house.report(sid, status, reference=reference)
        await house.settle()
    assert (await delivery(house))[0] == last


async def test_a_failed_delivery_keeps_its_code(house: House) -> None:
    sid, reference = await sent_row(house)
    await house.report(sid, "undelivered", reference=reference, code=63024)
    await house.settle()
    assert await delivery(house) == ("undelivered", "63024")


async def test_a_status_of_a_message_nobody_knows_is_done_and_changes_nothing(house: House) -> None:
    await sent_row(house)
    before = await house.rows("SELECT * FROM outbox")
    job_id = await house.report("SM" + "f" * 32, "delivered", reference="no such reference")
    await house.settle()
    assert ((await house.job(job_id)).state, await house.rows("SELECT * FROM outbox")) == (State.DONE, before)


async def test_a_status_of_another_message_with_our_reference_goes_not_astray(house: House) -> None:
    _, reference = await sent_row(house)
    await house.report("SM" + "f" * 32, "failed", reference=reference)
    await house.settle()
    assert (await delivery(house))[0] is None


async def test_a_status_proves_a_send_whose_answer_was_lost(house: House) -> None:
    house.twilio.fail_next(reset())
    await house.hear("hello")
    await house.step()
    [message] = house.twilio.messages
    await house.report(message.sid, "sent", reference=message.reference)
    await house.step()
    assert await house.rows("SELECT state, provider_id, reconciled, delivery FROM outbox") == [
        ("sent", message.sid, 1, "sent")
    ]
    await house.settle()
    assert (house.sent, house.twilio.reads) == (["re: hello"], 0)


async def test_a_status_may_come_before_the_answer(house: House) -> None:
    send = house.channel.send

    async def overtaken(message: object) -> object:
        sent = await send(message)  # type: ignore[arg-type] # handed through
        [known] = house.twilio.messages
        await house.report(known.sid, "delivered", reference=known.reference)
        [claim] = await house.queue.claim(1, worker="another")
        await house.handle(claim)
        return sent

    house.channel.send = overtaken  # type: ignore[method-assign,assignment] # once
    await house.hear("hello")
    await house.settle()
    assert await house.outbox_states() == ["sent"]
    assert (await delivery(house))[0] == "delivered"


async def test_a_form_that_is_no_status_is_a_dead_letter(house: House) -> None:
    await house.report("SM" + "1" * 32, "???")
    await house.settle()
    [dead] = await house.dead()
    assert "not a delivery status" in (dead.error or "")


async def test_waiting_to_look_costs_no_attempt(house: House) -> None:
    house.twilio.fail_next(reset())
    job_id = await house.hear("hello")
    await house.step()
    house.clock.advance(RECONCILE_AFTER / 2)
    await house.change("UPDATE lanes SET due_at = 0")
    await house.step()
    assert ((await house.job(job_id)).attempt, house.twilio.reads) == (0, 0)


# --- A Twilio that stays away


async def test_a_twilio_that_is_down_costs_no_attempts_for_an_hour(house: House) -> None:
    house.twilio.fault = too_many(None)
    job_id = await house.hear("hello")
    begun = house.clock.now()
    while house.clock.now() - begun < 3_590_000:
        await house.step()
        assert (await house.job(job_id)).attempt == 0
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
    job_id = await house.hear("hello")
    await house.settle()
    record = await house.job(job_id)
    assert (record.state, record.attempt) == (State.DEAD, 12)


async def test_a_dead_letter_that_is_retried_sends_what_was_drafted(house: House) -> None:
    house.twilio.fault = too_many(None)
    job_id = await house.hear("hello", sender=ANA_SMS, to=OUR_SMS)
    await house.settle()
    house.twilio.fault = None
    await house.queue.backend.retry_dead(JobFilter(ids=(job_id,)))
    await house.settle()
    assert (house.sent, len(house.responder.asked)) == (["re: hello"], 1)
