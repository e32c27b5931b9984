"""What the channel took and could not deliver is sent once more, where its cause may pass: after a pause."""

from __future__ import annotations

import pytest

from convoq.conversations.queries import Reading
from convoq.jobs import SendAgain
from convoq.loopback.faults import TwilioFault, reset
from convoq.queue.base import JobFilter, JobState
from tests.handlers.house import ANA_SMS, OUR_SMS, House

PASSES = {21611: 60, 30001: 60, 30008: 120, 30410: 120, 63012: 120, 63017: 30, 63018: 60, 63023: 120}
STAYS = [21610, 30003, 30007, 63016, 63024, 20003, 99999]


async def answered(house: House) -> str:
    """An answer that Twilio has taken; its id there."""
    await house.hear("hello")
    await house.live(1)
    return house.twilio.messages[-1].sid


async def fails(house: House, sid: str, code: int | None = 30008, status: str = "undelivered") -> None:
    await house.report(sid, status, code=code)
    await house.step()


async def waiting_to_send_again(house: House) -> int:
    return await house.engine.count(JobFilter(kinds=(SendAgain.kind,), states=(JobState.READY,)))


@pytest.mark.parametrize(("code", "pause"), PASSES.items())
async def test_what_may_pass_is_sent_again_after_its_pause(house: House, code: int, pause: int) -> None:
    await fails(house, await answered(house), code)
    await house.live(pause - 1)
    assert house.sent == ["re: hello"]
    await house.live(2)
    assert house.sent == ["re: hello"] * 2


@pytest.mark.parametrize("code", [*STAYS, None])
async def test_what_does_not_pass_is_not_sent_again(house: House, code: int | None) -> None:
    await fails(house, await answered(house), code)
    await house.settle()
    assert house.sent == ["re: hello"]


async def test_what_was_cancelled_at_twilio_is_not_sent_again(house: House) -> None:
    await fails(house, await answered(house), 30008, "canceled")
    await house.settle()
    assert house.sent == ["re: hello"]


@pytest.mark.parametrize("accepted", [True, False])
async def test_what_an_operator_has_cancelled_is_not_sent_again(house: House, accepted: bool) -> None:
    house.twilio.fail_next(reset(accepted=accepted))
    await house.hear("hello")
    await house.step()
    job = await house.turn_job()
    await house.engine.cancel(JobFilter(ids=(job.id,)))
    if accepted:
        sid = house.twilio.messages[-1].sid
        await house.settle()  # looked up, and found
    else:
        await house.settle()  # looked up, and not found: only what is said of it later knows it
        sid = house.twilio.new_sid()
    [(reference,)] = await house.rows("SELECT reference FROM outbox")
    await house.report(sid, "undelivered", code=30008, reference=reference)
    await house.settle()
    assert house.sent == ["re: hello"] * accepted
    assert await house.rows("SELECT state, delivery FROM outbox") == [("sent", "undelivered")]


async def test_each_send_has_a_reference_and_a_fate_of_its_own(house: House) -> None:
    first = await answered(house)
    await fails(house, first)
    await house.settle()
    second = house.twilio.messages[-1]
    assert second.reference not in (None, house.twilio.messages[0].reference)
    await house.report(second.sid, "delivered", reference=second.reference)
    await house.settle()
    assert await house.rows("SELECT provider_id, reference, delivery, resend_of FROM outbox ORDER BY id") == [
        (first, house.twilio.messages[0].reference, "undelivered", None),
        (second.sid, second.reference, "delivered", 1),
    ]


async def test_what_fails_again_is_not_sent_a_third_time(house: House) -> None:
    await fails(house, await answered(house))
    await house.settle()
    await fails(house, house.twilio.messages[-1].sid)
    await house.settle()
    assert house.sent == ["re: hello"] * 2


@pytest.mark.parametrize("when", ["during the pause", "after it"])
async def test_a_status_that_comes_again_sends_nothing_more(house: House, when: str) -> None:
    sid = await answered(house)
    await fails(house, sid)
    if when == "after it":
        await house.settle()
    for status in ("undelivered", "failed", "sent", "undelivered"):
        await fails(house, sid, status=status)
    await house.settle()
    assert house.sent == ["re: hello"] * 2


async def test_a_job_that_runs_twice_sends_once(house: House) -> None:
    await fails(house, await answered(house))
    await house.settle()
    await house.queue.enqueue(SendAgain(part=1).job())
    await house.settle()
    assert house.sent == ["re: hello"] * 2


@pytest.mark.parametrize("arrived", ["delivered", "read"])
async def test_what_has_arrived_is_not_sent_again_whatever_is_said_later(house: House, arrived: str) -> None:
    sid = await answered(house)
    await house.report(sid, arrived)
    await house.step()
    await fails(house, sid)
    await house.settle()
    assert house.sent == ["re: hello"]


@pytest.mark.parametrize("arrived", ["delivered", "read"])
async def test_what_arrives_during_the_pause_is_not_sent_again(house: House, arrived: str) -> None:
    sid = await answered(house)
    await fails(house, sid)
    await house.report(sid, arrived)
    await house.settle()
    assert house.sent == ["re: hello"]


async def test_what_arrives_while_its_second_send_waits_for_its_turn_is_not_sent_again(house: House) -> None:
    sid = await answered(house)
    await fails(house, sid)
    house.clock.advance(121)
    [claim] = [claim for claim in await house.claim(100) if claim.kind == SendAgain.kind]
    await house.handle(claim)
    await house.report(sid, "delivered")
    [claim] = [claim for claim in await house.claim(100) if claim.kind == "record_delivery_status"]
    await house.handle(claim)
    await house.settle()
    assert await house.outbox_states() == ["sent", "cancelled"]


async def test_nothing_is_sent_again_after_a_stop(house: House) -> None:
    sid = await answered(house)
    await fails(house, sid)
    await house.hear_at_once("STOP")
    sent = len(house.sent)
    await house.settle()
    assert [body for body in house.sent[sent:] if body == "re: hello"] == []


async def test_what_was_written_before_a_stop_is_not_sent_again_after_a_start(house: House) -> None:
    await house.hear("hello", sender=ANA_SMS, to=OUR_SMS)
    await house.live(1)
    await fails(house, house.twilio.messages[-1].sid)
    for text in ("STOP", "START"):
        house.clock.advance(1)
        await house.hear_at_once(text, sender=ANA_SMS, to=OUR_SMS)
    await house.settle()
    assert house.sent == ["re: hello"]
    assert await house.rows("SELECT error FROM outbox") == [
        ("not sent again: the person has said STOP or START since it was written",)
    ]


async def test_nothing_is_sent_again_once_a_person_has_taken_over(house: House) -> None:
    await fails(house, await answered(house))
    await house.change("UPDATE conversations SET owner = 'human'")
    await house.settle()
    assert house.sent == ["re: hello"]


async def test_nothing_is_sent_again_beyond_the_window_of_whatsapp(house: House) -> None:
    sid = await answered(house)
    await house.live(86_400 - 60)
    await fails(house, sid)
    await house.settle()
    assert house.sent == ["re: hello"]


async def test_a_later_answer_is_not_held_up_by_the_pause(house: House) -> None:
    await fails(house, await answered(house))
    await house.hear("more")
    await house.live(5)
    assert house.sent == ["re: hello", "re: more"]
    await house.settle()
    assert house.sent == ["re: hello", "re: more", "re: hello"]


async def test_a_second_send_with_an_unknown_outcome_is_looked_for_and_not_taken_for_the_first(house: House) -> None:
    await fails(house, await answered(house))
    house.twilio.fail_next(reset(accepted=False))
    await house.settle()
    assert house.sent == ["re: hello"] * 2
    ids = {provider_id for (provider_id,) in await house.rows("SELECT provider_id FROM outbox")}
    assert ids == {message.sid for message in house.twilio.messages}


async def test_the_status_and_the_second_send_are_one_transaction(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    sid = await answered(house)
    enqueue = type(house.joined).enqueue

    def power_cut(*_: object) -> bool:
        raise RuntimeError("killed between the two")

    monkeypatch.setattr(type(house.joined), "enqueue", power_cut)
    await fails(house, sid)
    assert await house.rows("SELECT delivery FROM outbox") == [(None,)]
    monkeypatch.setattr(type(house.joined), "enqueue", enqueue)
    await house.settle()
    assert house.sent == ["re: hello"] * 2


async def test_all_parts_of_an_answer_are_sent_again_each_once(house: House) -> None:
    house.responder.script = [" ".join(f"sentence {number}." for number in range(300))]
    await house.hear("hello")
    await house.live(1)
    parts = list(house.twilio.messages)
    for message in parts:
        await fails(house, message.sid)
        house.clock.advance(0.001)  # what is due at the same moment is in no order
    await house.settle()
    assert [m.body for m in house.twilio.messages] == [m.body for m in parts] * 2


async def by_code(house: House) -> list[tuple[str, int]]:
    overview = await Reading(house.database).overview(since=0, refused_since=0)
    return [(code, parts) for code, parts in overview.undelivered_by_code]


async def test_what_is_to_be_sent_again_is_no_problem_yet_and_one_when_it_fails_again(house: House) -> None:
    await fails(house, await answered(house))
    assert await by_code(house) == []
    await house.settle()
    assert await by_code(house) == []
    await fails(house, house.twilio.messages[-1].sid)
    assert await by_code(house) == [("30008", 1)]


async def test_what_does_not_pass_is_counted_by_its_code(house: House) -> None:
    await fails(house, await answered(house), 30007)
    house.twilio.fail_next(TwilioFault(accepts=False, answer="error", status=400, code=21606))
    await house.hear("more")
    await house.settle()
    assert await by_code(house) == [("21606", 1), ("30007", 1)]


async def test_a_second_send_that_is_cancelled_stays_away_until_it_is_retried(house: House) -> None:
    await fails(house, await answered(house))
    await house.engine.cancel(JobFilter(kinds=(SendAgain.kind,)))
    assert await by_code(house) == [("30008", 1)]
    await house.settle()
    assert house.sent == ["re: hello"]
    await house.engine.retry_dead(JobFilter(kinds=(SendAgain.kind,)))
    assert await by_code(house) == []
    await house.settle()
    assert house.sent == ["re: hello"] * 2
