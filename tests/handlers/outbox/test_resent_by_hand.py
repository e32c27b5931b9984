"""An operator sends a message again: what failed, under the rules, looked up first where that is not certain."""

from __future__ import annotations

from functools import partial

import pytest

from convoq.conversations.queries import Reading
from convoq.conversations.resending import Action, Resending, Resent
from convoq.handlers.receive import enqueue_turns
from convoq.jobs import SendAgain
from convoq.loopback.faults import refused, reset, too_many
from convoq.queue.base import JobFilter, JobState
from tests.handlers.house import ANA_SMS, OUR_SMS, House

SEND, LOOK_UP, NOTHING = (Action.SEND, None), (Action.LOOK_UP, None), Action.NOTHING


async def resend_parts(house: House, message_id: int | None = None) -> list[Resent] | None:
    """Of the newest message of ours, unless another is named."""
    if message_id is None:
        [(message_id,)] = await house.rows("SELECT max(id) FROM messages WHERE direction = 'out'")
    return await Resending(house.database, house.wall).resend(message_id or 0, partial(enqueue_turns, house.joined))


async def resend(house: House, message_id: int | None = None) -> list[tuple[Action, str | None]] | None:
    resent = await resend_parts(house, message_id)
    return None if resent is None else [(one.action, one.reason) for one in resent]


async def undelivered(house: House, code: int = 30007) -> None:
    await house.hear("hello")
    await house.settle()
    await house.report(house.twilio.messages[-1].sid, "undelivered", code=code)
    await house.step()


async def test_what_was_not_delivered_is_sent_again_with_a_reference_of_its_own(house: House) -> None:
    await undelivered(house)
    assert await resend(house) == [SEND]
    await house.settle()
    assert house.sent == ["re: hello"] * 2
    assert len({message.reference for message in house.twilio.messages}) == 2


async def test_what_was_canceled_at_the_channel_is_counted_and_sent_again(house: House) -> None:
    await house.hear("hello")
    await house.settle()
    await house.report(house.twilio.messages[-1].sid, "canceled")
    await house.step()
    overview = await Reading(house.database).overview(since=0, refused_since=0)
    assert overview.undelivered == 1
    assert await resend(house) == [SEND]
    await house.settle()
    assert house.sent == ["re: hello"] * 2


async def test_it_may_be_sent_as_often_as_it_fails(house: House) -> None:
    await undelivered(house)
    for _ in range(3):
        assert await resend(house) == [SEND]
        await house.settle()
        await house.report(house.twilio.messages[-1].sid, "failed", code=30008)
        await house.settle()
    assert house.sent == ["re: hello"] * 4


async def test_what_twilio_has_refused_is_sent_again(house: House) -> None:
    house.twilio.fail_next(refused(21408))
    await house.hear("hello")
    await house.settle()
    assert await resend(house) == [SEND]
    await house.settle()
    assert (house.sent, house.twilio.reads) == (["re: hello"], 0)


async def test_of_several_parts_those_are_sent_that_failed(house: House) -> None:
    house.responder.script = [" ".join(f"sentence {number}." for number in range(300))]
    await house.hear("hello")
    await house.settle()
    [first, second, *rest] = house.twilio.messages
    await house.report(first.sid, "delivered")
    await house.report(second.sid, "undelivered", code=30007)
    await house.step()
    assert await resend(house) == [
        (NOTHING, "it has arrived"),
        SEND,
        *[(NOTHING, "it is at the channel, which says nothing yet")] * len(rest),
    ]
    await house.settle()
    assert house.sent[-1] == second.body
    assert len(house.sent) == 3 + len(rest)


@pytest.mark.parametrize("accepted", [True, False])
async def test_what_may_have_been_sent_is_looked_up_first(house: House, accepted: bool) -> None:
    house.twilio.fail_next(reset(accepted=accepted))
    await house.hear("hello")
    await house.step()
    for claim in await house.claim(1):
        await house.engine.bury(claim, claim.jobs, error="given up")
    await house.change("UPDATE outbox SET state = 'failed', revoked = 'buried', error_code = 'buried'")
    assert await resend(house) == [LOOK_UP]
    await house.settle()
    assert (house.sent, house.twilio.reads) == (["re: hello"], 1)


async def test_an_unknown_outcome_that_waits_to_be_looked_up_is_looked_up(house: House) -> None:
    house.twilio.fail_next(reset(accepted=True))
    await house.hear("hello")
    await house.step()
    assert await resend(house) == [LOOK_UP]
    await house.settle()
    assert (house.sent, house.twilio.reads) == (["re: hello"], 1)


async def test_what_is_on_its_way_or_at_the_channel_is_left_alone(house: House) -> None:
    house.twilio.fail_next(too_many())
    await house.hear("hello")
    await house.step()
    assert await resend(house) == [(NOTHING, "it is on its way")]
    await house.settle()
    assert await resend(house) == [(NOTHING, "it is at the channel, which says nothing yet")]


@pytest.mark.parametrize("start", [False, True])
async def test_who_has_opted_out_since_hears_nothing(house: House, start: bool) -> None:
    await house.hear("hello", sender=ANA_SMS, to=OUR_SMS)
    await house.settle()
    await house.report(house.twilio.messages[-1].sid, "undelivered", code=30007)
    await house.step()
    for text in ["STOP", "START"][: 1 + start]:
        house.clock.advance(1)
        await house.hear_at_once(text, sender=ANA_SMS, to=OUR_SMS)
    reason = "the person has said STOP or START since it was written" if start else "the person has opted out"
    assert await resend(house) == [(NOTHING, reason)]
    await house.settle()
    assert house.sent == ["re: hello"]


async def test_an_answer_of_the_ai_is_not_sent_in_the_name_of_who_took_over(house: House) -> None:
    await undelivered(house)
    await house.change("UPDATE conversations SET owner = 'human'")
    assert await resend(house) == [(NOTHING, "a person took over")]


@pytest.mark.parametrize("message_id", [1, 99])
async def test_what_is_no_message_of_ours_is_none(house: House, message_id: int) -> None:
    await undelivered(house)
    assert await resend(house, message_id) is None


async def test_by_hand_during_the_pause_is_instead_of_the_second_send(house: House) -> None:
    await undelivered(house, 30008)
    assert await resend(house) == [SEND]
    await house.settle()
    assert house.sent == ["re: hello"] * 2
    assert await house.engine.count(JobFilter(kinds=(SendAgain.kind,), states=(JobState.READY,))) == 0


async def test_a_retry_of_its_dead_job_sends_it_no_second_time(house: House) -> None:
    job_id = await house.send("your table is ready", to=ANA_SMS, sender=OUR_SMS)
    await house.engine.cancel(JobFilter(ids=(job_id,)))
    assert await resend(house) == [SEND]
    await house.engine.retry_dead(JobFilter(ids=(job_id,)))
    await house.settle()
    assert house.sent == ["your table is ready"]


async def test_a_long_one_that_was_cancelled_before_it_began_is_sent_in_parts(house: House) -> None:
    text = " ".join(f"sentence {number}." for number in range(300))
    job_id = await house.send(text, to=ANA_SMS, sender=OUR_SMS)
    await house.engine.cancel(JobFilter(ids=(job_id,)))
    assert await resend(house) == [SEND]
    await house.settle()
    assert len(house.sent) > 1
    assert "".join(house.sent) == text


CODE = "Here you are:\n\n```\n" + "ab " * 1200 + "\n```\nDone."


async def test_parts_with_code_are_sent_and_sent_again_as_they_were_divided(house: House) -> None:
    house.responder.script = [CODE]
    await house.hear("hello")
    await house.settle()
    parts = list(house.sent)
    assert len(parts) > 1
    assert max(map(len, parts)) > 1592  # with the fence that closes it, longer than what is cut where there is code
    for message in list(house.twilio.messages):
        await house.report(message.sid, "undelivered", code=30007)
    await house.step()
    assert await resend(house) == [SEND] * len(parts)
    await house.settle()
    assert house.sent == parts * 2


async def test_the_refusal_of_one_part_leaves_open_whether_another_was_sent(house: House) -> None:
    house.responder.script = [" ".join(f"sentence {number}." for number in range(200))]
    await house.hear("hello")
    await house.live(1)
    await house.change("UPDATE outbox SET state = 'failed', error_code = '30450', provider_id = NULL WHERE part = 1")
    await house.report(house.twilio.messages[0].sid, "undelivered", code=30008)
    house.twilio.fail_next(reset(accepted=True))
    await house.live(121)
    assert await house.outbox_states() == ["sent", "failed", "ambiguous"]
    house.twilio.fail_next(refused(30450))
    for _ in range(2):
        await resend(house)
        await house.settle()
    assert await house.outbox_states() == ["sent"] * 3
    assert len(house.sent) == 4  # each part, and each once more


async def test_each_is_told_by_the_number_of_the_part_that_it_repeats(house: House) -> None:
    house.responder.script = [" ".join(f"sentence {number}." for number in range(300))]
    await house.hear("hello")
    await house.settle()
    for message in list(house.twilio.messages):
        await house.report(message.sid, "undelivered", code=30007)
    await house.step()
    await house.change("UPDATE outbox SET delivery = 'delivered', arrived = 1 WHERE part = 1")
    for _ in range(3):
        resent = await resend_parts(house) or []
        await house.settle()
        for message in list(house.twilio.messages):
            await house.report(message.sid, "undelivered", code=30007)
        await house.step()
    assert [one.number for one in resent] == list(range(1, len(resent) + 1))
    assert [one.number for one in resent if one.action is NOTHING] == [2]


ARRIVED = [(NOTHING, "it has arrived")]


async def test_what_has_arrived_before_its_second_send_began_is_not_sent_again(house: House) -> None:
    await undelivered(house)
    first = house.twilio.messages[-1].sid
    await resend(house)
    await house.report(first, "delivered")
    [claim] = [claim for claim in await house.claim(100) if claim.kind == "record_delivery_status"]
    await house.handle(claim)
    assert await resend(house) == ARRIVED
    await house.settle()
    assert house.sent == ["re: hello"]


async def test_what_has_arrived_after_its_second_send_failed_too_is_not_sent_a_third_time(house: House) -> None:
    await undelivered(house)
    first = house.twilio.messages[-1].sid
    await resend(house)
    await house.settle()
    await house.report(house.twilio.messages[-1].sid, "undelivered", code=30007)
    await house.report(first, "delivered")
    await house.step()
    assert await resend(house) == ARRIVED
    assert (await Reading(house.database).overview(since=0, refused_since=0)).undelivered_by_code == ()
    await house.settle()
    assert house.sent == ["re: hello"] * 2


async def test_what_arrives_while_its_second_send_is_looked_up_is_not_sent_again(house: House) -> None:
    await undelivered(house)
    first = house.twilio.messages[-1].sid
    house.twilio.fail_next(reset(accepted=False))
    await resend(house)
    await house.step()
    assert await house.outbox_states() == ["sent", "ambiguous"]
    await house.report(first, "delivered")
    await house.settle()
    assert await house.outbox_states() == ["sent", "cancelled"]
    assert await resend(house) == ARRIVED
    assert house.sent == ["re: hello"]


async def test_what_an_operator_cancelled_and_has_arrived_meanwhile_is_not_revived_by_a_retry(house: House) -> None:
    await undelivered(house)
    first = house.twilio.messages[-1].sid
    house.twilio.fail_next(too_many())
    await resend(house)
    await house.step()
    turn = JobFilter(kinds=("process_ai_response",), states=(JobState.READY,))
    [job] = await house.engine.list(turn)
    await house.engine.cancel(JobFilter(ids=(job.id,)))
    assert await house.outbox_states() == ["sent", "cancelled"]
    await house.report(first, "delivered")
    await house.step()
    await house.engine.retry_dead(JobFilter(ids=(job.id,)))
    await house.settle()
    assert house.sent == ["re: hello"]
