"""STOP wherever a turn stands: what had not left by then never goes out."""

from __future__ import annotations

import pytest

from convoq.ai.base import ReplyContext
from convoq.jobs import raw_job, turn_key
from convoq.loopback.faults import reset, too_many
from convoq.queue.base import JobFilter
from tests.handlers.house import ANA, OURS, House, about


def stopped_while_writing(house: House) -> object:
    async def answer(_: ReplyContext) -> str:
        await house.hear_at_once("STOP")
        return "too late"

    return answer


async def nothing_is_said(house: House) -> None:
    await house.settle()
    assert house.sent == []
    assert set(await house.outbox_states()) <= {"failed"}
    assert None not in {outcome for _, outcome in await house.outcomes()}


async def test_at_the_last_chance(house: House) -> None:
    async def interrupted(context: ReplyContext) -> str:
        await house.hear_at_once("more")
        return about(context)

    house.responder.script = [interrupted, interrupted, stopped_while_writing(house)]  # type: ignore[list-item] # a function
    await house.hear("hello")
    await nothing_is_said(house)


async def test_in_a_turn_of_a_message_that_is_tried_alone(house: House) -> None:
    await house.hear_at_once("hello")
    await house.change("UPDATE messages SET tries = 3")  # its workers died
    house.responder.script = [stopped_while_writing(house)]  # type: ignore[list-item] # a function
    await nothing_is_said(house)
    assert len(house.responder.asked) == 1


async def test_behind_a_message_of_ours_that_waits_for_its_retry(house: House) -> None:
    house.twilio.fail_next(too_many("3600"))
    await house.hear_at_once("hello")
    await house.send("your table is ready")
    await house.turn()
    await house.hear("STOP")
    await nothing_is_said(house)


@pytest.mark.parametrize("failures", [1, 2, 4])
async def test_behind_a_message_whose_turns_fail(house: House, failures: int) -> None:
    house.responder.always = RuntimeError("poison")
    await house.hear_at_once("poison")
    for _ in range(failures):
        await house.turn()
        house.clock.advance(await house.due_in() or 0)
    await house.hear("STOP")
    await house.take_in()
    house.responder.always = None
    await nothing_is_said(house)


async def test_behind_a_job_of_a_kind_that_no_worker_knows(house: House) -> None:
    await house.queue.enqueue(raw_job("from.the.future", {}, ordering_key=turn_key("twilio", OURS, ANA)))
    house.twilio.fail_next(too_many("3600"))
    await house.hear_at_once("hello")
    for _ in range(2):  # it is put aside first
        await house.turn()
    assert await house.outbox_states() == ["ready"]
    await house.hear_at_once("STOP")
    assert await house.outbox_states() == ["failed"]
    assert await house.outcomes() == [("hello", "answered"), ("STOP", "keyword")]


async def test_in_another_thread_of_the_person(house: House) -> None:
    house.twilio.fail_next(too_many("3600"))
    await house.hear("hello", to="whatsapp:+15550008888")
    await house.step()
    await house.hear("STOP")
    await nothing_is_said(house)


async def test_drafts_that_gave_way_are_counted_across_restarts(house: House) -> None:
    await house.hear_at_once("a")
    await house.change("UPDATE threads SET superseded = 2")  # by workers before this one

    async def interrupted(context: ReplyContext) -> str:
        await house.hear_at_once("b")
        return about(context)

    house.responder.script = [interrupted]
    await house.turn()
    assert house.sent == ["re: a", "re: b"]


async def test_what_a_stop_has_revoked_no_cancel_and_retry_of_an_operator_revives(house: House) -> None:
    house.twilio.fail_next(reset(accepted=False))
    await house.hear("hello")
    await house.step()
    assert await house.outbox_states() == ["ambiguous"]
    await house.hear_at_once("STOP")
    job = JobFilter(ids=((await house.turn_job()).id,))
    assert await house.engine.cancel(job) == 1
    assert await house.engine.retry_dead(job) == 1
    await house.hear_at_once("START")
    await house.settle()
    assert house.sent == ["re: START"]


async def test_what_an_operator_had_cancelled_before_a_stop_no_retry_sends_after_a_start(house: House) -> None:
    house.twilio.fail_next(too_many("3600"))
    await house.hear("hello")
    await house.step()
    job = JobFilter(ids=((await house.turn_job()).id,))
    await house.engine.cancel(job)
    for text in ("STOP", "START"):
        await house.hear_at_once(text)
    await house.engine.retry_dead(job)
    await house.settle()
    assert "re: hello" not in house.sent
