"""Burial, cancel, discard and retry settle a job's messages and parts together with the job."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from convoq.errors import Snooze, Unrecoverable
from convoq.jobs import message_job
from convoq.loopback.faults import TwilioFault, reset, too_many
from convoq.queue.base import JobFilter, JobState
from tests.handlers.house import ANA, BEN, OURS, House
from tests.turn.stepping import stepping


@pytest.fixture
async def met(house: House) -> AsyncIterator[House]:
    """A person has written, so that WhatsApp takes free text, and nothing was said yet that could be confused."""
    await house.hear("hello")
    await house.settle()
    yield house
    assert await house.flaws() == []


def this(job_id: str) -> JobFilter:
    return JobFilter(ids=(job_id,))


async def test_a_cancelled_message_of_ours_does_not_go_out_with_the_persons_next_one(met: House) -> None:
    met.twilio.fail_next(too_many("3600"))
    job_id = await met.send("your table is gone")
    await met.step()
    assert await met.engine.cancel(this(job_id)) == 1
    await met.hear("and on Monday?")
    await met.settle()
    assert met.sent == ["re: hello", "re: and on Monday?"]


async def test_a_message_of_ours_that_no_worker_began_in_time_is_written_down_nowhere(met: House) -> None:
    before = await met.rows("SELECT * FROM contacts"), await met.rows("SELECT * FROM messages")
    job = replace(message_job(OURS, BEN, "good morning"), start_within=60)
    job_id = (await met.queue.enqueue(job)).job_id
    met.clock.advance(61)
    await met.settle()
    record = await met.job(job_id)
    assert (record.state, record.error) == (JobState.CANCELLED, "no worker began it in time")
    assert (await met.rows("SELECT * FROM contacts"), await met.rows("SELECT * FROM messages")) == before


async def test_a_cancelled_message_of_ours_goes_out_once_when_it_is_retried(met: House) -> None:
    met.twilio.fail_next(too_many("3600"))
    job_id = await met.send("your table is ready")
    await met.step()
    await met.engine.cancel(this(job_id))
    assert await met.engine.retry_dead(this(job_id)) == 1
    await met.settle()
    assert met.sent == ["re: hello", "your table is ready"]


async def cancelled_and_stopped(house: House, fault: TwilioFault) -> str:
    """The job of a message that was tried, cancelled by an operator and then stopped by the person."""
    house.twilio.fail_next(fault)
    job_id = await house.send("your table is ready")
    await house.step()
    await house.engine.cancel(this(job_id))
    await house.hear_at_once("STOP")
    return job_id


@pytest.mark.parametrize("fault", [too_many("3600"), reset(accepted=False), reset(accepted=True)])
async def test_a_message_of_ours_that_is_retried_after_stop_and_start_goes_out_once(
    met: House, fault: TwilioFault
) -> None:
    job_id = await cancelled_and_stopped(met, fault)
    await met.hear_at_once("START")
    assert await met.engine.retry_dead(this(job_id)) == 1
    await met.settle()
    assert sorted(met.sent) == ["re: START", "re: hello", "your table is ready"]


@pytest.mark.parametrize("fault", [too_many("3600"), reset(accepted=False)])
async def test_a_message_of_ours_that_is_retried_before_the_start_never_goes_out(
    met: House, fault: TwilioFault
) -> None:
    job_id = await cancelled_and_stopped(met, fault)
    assert await met.engine.retry_dead(this(job_id)) == 1
    await met.hear_at_once("START")
    await met.settle()
    assert met.sent == ["re: hello", "re: START"]


async def test_a_cancelled_message_of_ours_does_not_go_out_with_the_retry_of_a_turn(met: House) -> None:
    met.twilio.fail_next(too_many("3600"))
    job_id = await met.send("your table is gone")
    await met.step()
    await met.hear_at_once("are you open?")
    turn = (await met.turn_job()).id
    for cancelled in (turn, job_id):
        await met.engine.cancel(this(cancelled))
    await met.engine.retry_dead(this(turn))
    await met.settle()
    assert met.sent == ["re: hello", "re: are you open?"]


async def test_a_cancelled_turn_is_never_answered_and_holds_up_no_later_one(met: House) -> None:
    met.responder.script = [Snooze(3600, "busy")]
    await met.hear("never mind")
    await met.step()
    job_id = (await met.turn_job()).id
    await met.engine.cancel(this(job_id))
    await met.hear("are you open?")
    await met.settle()
    assert met.sent == ["re: hello", "re: are you open?"]
    assert ("never mind", "cancelled") in await met.outcomes()


async def test_a_cancelled_turn_is_answered_when_it_is_retried(met: House) -> None:
    met.responder.script = [Snooze(3600, "busy")]
    await met.hear("are you open?")
    await met.step()
    job_id = (await met.turn_job()).id
    await met.engine.cancel(this(job_id))
    await met.engine.retry_dead(this(job_id))
    await met.settle()
    assert met.sent == ["re: hello", "re: are you open?"]


async def test_of_a_cancelled_turn_no_part_goes_out_that_was_committed(met: House) -> None:
    met.twilio.fail_next(too_many("3600"))
    await met.hear("are you open?")
    await met.step()
    job_id = (await met.turn_job()).id
    assert await met.outbox_states() == ["sent", "ready"]
    await met.engine.cancel(this(job_id))
    await met.hear("hello?")
    await met.settle()
    assert met.sent == ["re: hello", "re: hello?"]


async def test_a_part_whose_send_is_unknown_is_not_sent_again_after_a_cancel(met: House) -> None:
    met.twilio.fail_next(reset(accepted=False))
    await met.hear("are you open?")
    await met.step()
    job_id = (await met.turn_job()).id
    assert await met.outbox_states() == ["sent", "ambiguous"]
    await met.engine.cancel(this(job_id))
    await met.hear("hello?")
    await met.settle()
    assert met.sent == ["re: hello", "re: hello?"]


async def test_a_status_still_proves_a_part_that_was_cancelled_on_its_way(met: House) -> None:
    met.twilio.fail_next(reset(accepted=True))
    await met.hear("are you open?")
    await met.step()
    job_id = (await met.turn_job()).id
    await met.engine.cancel(this(job_id))
    [(reference,)] = await met.rows("SELECT reference FROM outbox WHERE revoked = 'cancelled'")
    await met.report(met.twilio.messages[-1].sid, "delivered", reference=reference)
    await met.settle()
    assert await met.outbox_states() == ["sent", "sent"]


async def test_a_retry_of_a_part_on_its_way_looks_before_it_sends_again(met: House) -> None:
    met.twilio.fail_next(reset(accepted=True))
    await met.hear("are you open?")
    await met.step()
    job_id = (await met.turn_job()).id
    await met.engine.cancel(this(job_id))
    await met.engine.retry_dead(this(job_id))
    await met.settle()
    assert met.sent == ["re: hello", "re: are you open?"]


async def test_nothing_waits_any_more_for_a_dead_letter_that_was_discarded(met: House) -> None:
    met.responder.script = [Unrecoverable("no such model")]
    await met.hear("are you open?")
    await met.settle()
    job_id = (await met.turn_job()).id
    assert await met.engine.discard(this(job_id)) == 1
    assert ("are you open?", "cancelled") in await met.outcomes()


async def test_a_job_whose_every_start_killed_its_worker_leaves_no_message_waiting(met: House) -> None:
    await met.hear("are you open?")
    met.responder.script = [Snooze(1, "later")]
    await met.step()  # it is recorded
    job_id = (await met.turn_job()).id
    await met.change("UPDATE jobs SET attempt = max_attempts WHERE id = ?", int(job_id))
    await met.settle()
    assert [dead.id for dead in await met.dead()] == [job_id]
    assert ("are you open?", "failed") in await met.outcomes()


async def test_the_jobs_of_other_people_keep_their_messages_and_parts(met: House) -> None:
    met.twilio.fail_next(too_many("60"))
    await met.send("your table is ready", to=ANA)
    await met.step()
    await met.engine.cancel(JobFilter(ids=("4711",)))
    await met.settle()
    assert met.sent == ["re: hello", "your table is ready"]


async def test_a_part_that_can_never_be_looked_up_is_given_up_with_the_second_dead_letter(met: House) -> None:
    met.twilio.fail_next(reset(accepted=False))
    await met.hear("are you open?")
    await met.step()
    await met.change("UPDATE contacts SET channel = 'pigeon'")  # no worker has it any more
    await met.settle()
    assert await met.outbox_states() == ["sent", "failed"]
    assert len(await met.dead()) == 2


# --- A message of ours whose job ends before it was written down


@pytest.fixture
async def unheard(met: House) -> AsyncIterator[House]:
    """Ben has never written, and all of Ana's conversations are over."""
    await met.hear("STOP")
    await met.hear("START")
    await met.settle()
    met.clock.advance(10 * 86_400)
    await met.upkeep("process_expired")
    yield met
    assert await met.flaws() == []


async def people_and_conversations(house: House) -> list[tuple[object, ...]]:
    return [
        *await house.rows("SELECT * FROM contacts"), *await house.rows("SELECT * FROM conversations"),
        *await house.rows("SELECT * FROM transitions"),
    ]  # fmt: skip


async def buried(house: House, job_id: str) -> None:
    """Each of its starts has killed its worker."""
    await house.change("UPDATE jobs SET attempt = max_attempts WHERE id = ?", int(job_id))
    await house.step()
    assert [dead.id for dead in await house.dead()] == [job_id]


@pytest.mark.parametrize("who", [ANA, BEN])
async def test_a_message_of_ours_that_is_buried_unwritten_is_its_dead_letter_alone(unheard: House, who: str) -> None:
    before = await people_and_conversations(unheard)
    await buried(unheard, await unheard.send("your table is ready", to=who))
    assert await people_and_conversations(unheard) == before


@pytest.mark.parametrize("who", [ANA, BEN])
async def test_a_message_of_ours_that_is_retried_unwritten_is_written_by_its_job_alone(
    unheard: House, who: str
) -> None:
    job_id = await unheard.send("your table is ready", to=who)
    await buried(unheard, job_id)
    before = await people_and_conversations(unheard)
    assert await unheard.engine.retry_dead(this(job_id)) == 1
    assert await people_and_conversations(unheard) == before


@pytest.mark.parametrize("discarded", [False, True], ids=["cancelled", "discarded"])
async def test_a_message_of_ours_that_an_operator_ends_unwritten_is_on_record_as_cancelled(
    unheard: House, discarded: bool
) -> None:
    job_id = await unheard.send("your table is ready", to=BEN)
    if discarded:
        await buried(unheard, job_id)
        assert await unheard.engine.discard(this(job_id)) == 1
    else:
        assert await unheard.engine.cancel(this(job_id)) == 1
    [recorded] = await unheard.rows(
        """SELECT m.source, m.body, o.state, o.error FROM messages AS m JOIN outbox AS o ON o.message_id = m.id
           JOIN threads AS t ON t.id = m.thread_id JOIN contacts AS c ON c.id = t.contact_id WHERE c.address = ?""",
        BEN,
    )
    assert recorded == (f"job:{job_id}", "your table is ready", "cancelled", "an operator has cancelled it")


async def test_what_an_operator_ends_unwritten_opens_no_conversation_where_there_was_one(unheard: House) -> None:
    before = await people_and_conversations(unheard)
    await unheard.engine.cancel(this(await unheard.send("your table is ready")))
    assert await people_and_conversations(unheard) == before


async def test_a_late_worker_does_not_send_what_was_discarded(met: House) -> None:
    job_id = await met.send("your table is ready")
    async with stepping(met) as steps:
        late = await steps.claim()
        late.stalled = True
        await met.change("UPDATE jobs SET attempt = max_attempts WHERE id = ?", int(job_id))
        await steps.recover(late)
        await met.step()
        assert await met.engine.discard(this(job_id)) == 1
        await late.finish()
    await met.settle()
    assert met.sent == ["re: hello"]


# --- Run now


async def test_what_failed_twice_is_tried_at_once_when_its_turn_is_run_now(met: House) -> None:
    met.responder.script = [RuntimeError("bug")] * 2
    await met.hear("are you open?")
    await met.step()
    met.clock.advance(await met.due_in() or 0)
    await met.step()
    assert (await met.due_in() or 0) > 1  # it backs off
    await met.engine.run_now(this((await met.turn_job()).id))
    await met.step()
    assert met.sent == ["re: hello", "re: are you open?"]


async def test_a_message_of_ours_that_is_run_now_leaves_the_turns_behind_it_as_they_are(met: House) -> None:
    met.twilio.fail_next(too_many("3600"))
    job_id = await met.send("your table is ready")
    await met.step()
    await met.hear_at_once("never mind")
    before = len(await met.engine.list(JobFilter()))
    await met.engine.run_now(this(job_id))
    assert len(await met.engine.list(JobFilter())) == before
    await met.settle(patience=1)
    assert met.sent == ["re: hello", "your table is ready", "re: never mind"]


# --- A turn and a message of ours in one thread


async def test_a_cancelled_turn_takes_no_message_of_ours_with_it(met: House) -> None:
    met.twilio.fail_next(too_many("60"))
    job_id = await met.send("your table is ready")
    await met.step()
    await met.hear_at_once("never mind")
    assert await met.engine.cancel(this((await met.turn_job()).id)) == 1
    assert (await met.job(job_id)).reason is not None  # it waits as it did
    await met.settle()
    assert met.sent == ["re: hello", "your table is ready"]
    assert ("never mind", "cancelled") in await met.outcomes()


async def test_a_message_of_ours_whose_send_is_unknown_is_looked_up_after_a_cancelled_turn(met: House) -> None:
    met.twilio.fail_next(reset(accepted=False))
    await met.send("your table is ready")
    await met.step()
    await met.hear_at_once("never mind")
    await met.engine.cancel(this((await met.turn_job()).id))
    await met.settle()
    assert met.sent == ["re: hello", "your table is ready"]


async def test_a_message_of_ours_under_way_goes_on_after_a_cancelled_turn(met: House) -> None:
    await met.send("word " * 600)
    async with stepping(met) as steps:
        worker = await steps.claim()
        await worker.until("send")
        await met.hear_at_once("never mind")
        await met.engine.cancel(this((await met.turn_job()).id))
        await worker.finish()
        await met.settle()
    assert "".join(met.sent) == "re: hello" + "word " * 600
