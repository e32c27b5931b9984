"""A model that fails, and a job that is no message: what is tried again, what becomes a dead letter."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from convoq.ai.base import AccountRefused, ReplyContext
from convoq.conversations.past import Past
from convoq.conversations.records import Answer, OutboxRow, Turn
from convoq.conversations.turn_steps import Uncommitted
from convoq.errors import DatabaseUnavailable, RetryLater, Unrecoverable
from convoq.handlers.base import ClaimContext, Leaving
from convoq.handlers.deadlines import Deadlines
from convoq.handlers.run import Run
from convoq.jobs import ReceiveMessage, receive_job
from convoq.queue.base import JobFilter, JobState
from tests.handlers.house import ANA, ANA_SMS, BEN, MAX_TRIES, OUR_SMS, OURS, House, about, waiting

HOUR = 3600.0


async def test_a_model_that_is_down_costs_no_attempts_for_an_hour(house: House) -> None:
    house.responder.always = RetryLater(60, "the model is down")
    await house.hear("hello")
    for _ in range(59):
        await house.step()
        assert (await house.turn_job()).attempt == 0
        house.clock.advance(60)


async def test_after_an_hour_each_try_costs_an_attempt(house: House) -> None:
    house.responder.always = RetryLater(60, "the model is down")
    await house.hear("hello")
    house.clock.advance(HOUR)
    await house.settle()
    record = await house.turn_job()
    assert (record.state, record.attempt, record.error) == (JobState.DEAD, MAX_TRIES, "the model is down")


async def test_the_answer_comes_as_soon_as_the_model_is_back(house: House) -> None:
    house.responder.script = [RetryLater(30)] * 5
    await house.hear("hello")
    await house.settle()
    assert house.sent == ["re: hello"]


async def test_a_refused_key_holds_messages_for_a_day_without_costing_attempts(house: House) -> None:
    house.responder.always = AccountRefused(3600, "the key is refused")
    await house.hear("hello")
    for _ in range(23):
        await house.step()
        record = await house.turn_job()
        assert (record.state, record.attempt, await house.due_in()) == (JobState.READY, 0, 3600)
        house.clock.advance(3600)
    house.responder.always = None
    await house.step()
    assert house.sent == ["re: hello"]


async def test_a_key_that_stays_refused_for_a_day_leaves_a_dead_letter_with_the_cause(house: House) -> None:
    house.responder.always = AccountRefused(3600, "the key is refused")
    await house.hear("hello", sender=ANA_SMS, to=OUR_SMS)
    await house.settle(patience=25 * HOUR)
    assert [record.error for record in await house.dead()] == ["the key is refused (still so after 24 hours)"]
    assert await house.outcomes() == [("hello", "failed")]


async def test_what_whatsapp_takes_no_answer_to_any_more_is_not_asked_for(house: House) -> None:
    house.responder.always = AccountRefused(3600, "the key is refused")
    await house.hear("hello")
    await house.settle(patience=25 * HOUR)
    assert (await house.outcomes(), await house.dead()) == ([("hello", "window")], [])


async def test_a_refusal_is_waited_out_for_the_newest_message_of_the_turn(house: House) -> None:
    house.responder.always = AccountRefused(3600, "the key is refused")
    await house.hear("first")
    await house.step()
    house.clock.advance(23.9 * HOUR)
    await house.hear("second")
    for _ in range(3):
        await house.step()
        house.clock.advance(HOUR)
    assert await house.dead() == []


async def test_a_refused_key_is_an_error_in_the_log_once_a_minute(house: House) -> None:
    house.responder.always = AccountRefused(10, "the key is refused")
    for sender in (ANA, BEN):
        await house.hear("hello", sender=sender)
    with capture_logs() as logs:
        for _ in range(12):
            await house.step()
            house.clock.advance(10)
    alarms = [(entry["log_level"], entry["error"]) for entry in logs if entry["event"] == "ai.refused"]
    assert alarms == [("error", "the key is refused")] * 2


async def test_what_no_retry_can_help_is_a_dead_letter_with_its_reason(house: House) -> None:
    house.responder.script = [Unrecoverable("the key is wrong")]
    await house.hear("hello")
    await house.settle()
    [dead] = await house.dead()
    assert dead.error == "the key is wrong"
    assert await house.outcomes() == [("hello", "failed")]


async def test_the_last_attempt_says_that_no_answer_could_be_made(house: House) -> None:
    house.responder.always = RuntimeError("bug")
    await house.hear("hello")
    for _ in range(MAX_TRIES - 1):
        await house.step()
        assert await house.outcomes() == [("hello", None)]
        house.clock.advance(await house.due_in() or 0)
    await house.step()
    assert await house.outcomes() == [("hello", "failed")]


async def test_a_dead_letter_takes_no_later_message_with_it(house: House) -> None:
    def poisoned(context: ReplyContext) -> str:
        if any("poison" in line.text for line in context.lines):
            raise Unrecoverable("refused")
        return about(context)

    house.responder.always = poisoned
    await house.hear("poison")
    await house.settle()
    await house.hear("second")
    await house.settle()
    assert house.sent == ["re: second"]


async def test_a_dead_letter_that_is_retried_is_answered(house: House) -> None:
    house.responder.script = [Unrecoverable("no")]
    await house.hear("first")
    await house.settle()
    await house.hear("second")
    await house.settle()
    [dead] = await house.dead()
    await house.engine.retry_dead(JobFilter(ids=(dead.id,)))
    await house.settle()
    assert house.sent == ["re: second", "re: first"]
    assert await house.outcomes() == [("first", "answered"), ("second", "answered")]


async def test_an_unexpected_error_of_the_responder_is_tried_again(house: House) -> None:
    house.responder.script = [RuntimeError("bug")]
    await house.hear("hello")
    await house.settle()
    assert house.sent == ["re: hello"]


async def test_an_answer_that_cannot_be_written_just_now_is_kept_and_paid_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = house.turns.commit
    monkeypatch.setattr("convoq.handlers.answer.COMMIT_PAUSE", 0.01)

    async def unavailable_once(turn: Turn, answer: Answer) -> OutboxRow | Uncommitted:
        monkeypatch.setattr(house.turns, "commit", commit)
        raise DatabaseUnavailable("the disk is full")

    monkeypatch.setattr(house.turns, "commit", unavailable_once)
    house.responder.script = ["the first answer", "another answer"]
    await house.hear("hello")
    await house.settle()
    assert (house.sent, len(house.responder.asked)) == (["the first answer"], 1)


async def test_a_failing_turn_of_one_person_holds_up_nobody_else(house: House) -> None:
    def broken_for_ana(context: ReplyContext) -> str:
        if context.address == ANA:
            raise RetryLater(5)
        return about(context)

    house.responder.always = broken_for_ana
    await house.hear("from Ana")
    await house.hear("from Ben", sender=BEN)
    await house.step()
    assert house.sent == ["re: from Ben"]


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_a_form_that_is_no_message_is_buried_alone(house: House, position: int) -> None:
    for number in range(3):
        if number == position:
            job = receive_job(ReceiveMessage(form=(("Body", "no sid"),)), OURS, ANA)
            bad = (await house.queue.enqueue(job)).job_id
        else:
            await house.hear(f"good {number}")
    await house.settle()
    assert [record.id for record in await house.dead()] == [bad]
    assert house.sent == ["re: " + " + ".join(f"good {number}" for number in range(3) if number != position)]


async def test_what_is_written_while_a_poison_turn_fails_does_not_wait_out_its_backoff(house: House) -> None:
    async def poisoned(context: ReplyContext) -> str:
        if "poison" in waiting(context):
            await house.hear_at_once("hello?")
            raise RuntimeError("poison")
        return about(context)

    await house.hear_at_once("poison")
    await house.change("UPDATE messages SET failures = 2, tries = 2")
    house.responder.script = [poisoned]
    house.responder.always = poisoned
    await house.turn()
    assert house.sent == ["re: hello?"]


async def test_a_database_that_is_away_costs_no_try(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    past = house.turns.past

    async def unavailable_once(turn: Turn) -> Past:
        monkeypatch.setattr(house.turns, "past", past)
        raise DatabaseUnavailable("the disk is full")

    monkeypatch.setattr(house.turns, "past", unavailable_once)
    await house.hear_at_once("hello")
    await house.turn()
    assert await house.rows("SELECT tries FROM messages") == [(0,)]
    await house.settle()
    assert house.sent == ["re: hello"]


async def left_by_its_worker(house: House, at: asyncio.Event, why: Leaving) -> None:
    """A turn whose worker leaves it at that moment."""
    await house.hear_at_once("hello")
    [claim] = await house.claim(1)
    run = Run(ClaimContext(claim, house.queue), 0.0)
    run.task = asyncio.create_task(house.worker._handle(run))
    async with asyncio.timeout(5):
        await at.wait()
        run.leave(why)
        await run.task


@pytest.mark.parametrize("why", list(Leaving))
async def test_a_turn_that_its_worker_leaves_costs_no_try(house: House, why: Leaving) -> None:
    asked = asyncio.Event()

    async def answer_never(_: ReplyContext) -> str:
        asked.set()
        await asyncio.Event().wait()
        return "never"

    house.responder.always = answer_never
    await left_by_its_worker(house, asked, why)
    assert await house.rows("SELECT tries, failures FROM messages") == [(0, 0)]


@pytest.mark.parametrize("why", list(Leaving))
async def test_a_turn_that_its_worker_leaves_while_the_disk_refuses_its_answer_costs_no_try(
    house: House, monkeypatch: pytest.MonkeyPatch, why: Leaving
) -> None:
    refused = asyncio.Event()

    async def unavailable(turn: Turn, answer: Answer) -> OutboxRow | Uncommitted:
        refused.set()
        raise DatabaseUnavailable("the disk is full")

    monkeypatch.setattr(house.turns, "commit", unavailable)
    await left_by_its_worker(house, refused, why)
    assert await house.rows("SELECT tries, failures FROM messages") == [(0, 0)]


async def test_a_commit_that_takes_longer_than_the_deadline_costs_no_try(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stuck(turn: Turn, answer: Answer) -> OutboxRow | Uncommitted:
        return await asyncio.Event().wait()  # type: ignore[return-value] # never returns

    monkeypatch.setattr(house.turns, "commit", stuck)
    await house.hear_at_once("hello")
    [claim] = await house.claim(1)
    run = Run(ClaimContext(claim, house.queue), 0.0)
    async with asyncio.timeout(10):
        assert isinstance(await run.outcome(house.handlers[claim.kind], Deadlines(2.0)), TimeoutError)
    assert await house.rows("SELECT tries, failures FROM messages") == [(0, 0)]


@pytest.mark.parametrize("why", list(Leaving))
async def test_a_turn_that_its_worker_leaves_without_a_database_is_released(
    house: House, monkeypatch: pytest.MonkeyPatch, why: Leaving
) -> None:
    asked = asyncio.Event()

    async def answer_never(_: ReplyContext) -> str:
        asked.set()
        await asyncio.Event().wait()
        return "never"

    async def unavailable(turn: Turn) -> None:
        raise DatabaseUnavailable("the disk is full")

    monkeypatch.setattr(house.turns, "give_back", unavailable)
    house.responder.always = answer_never
    await left_by_its_worker(house, asked, why)
    assert ((await house.turn_job()).attempt, await house.due_in()) == (0, 0)


async def test_a_dead_letter_of_a_message_whose_workers_died_has_the_reason_of_its_last_failure(house: House) -> None:
    house.responder.always = RuntimeError("slow and broken")
    await house.hear_at_once("hello")
    await house.turn()
    await house.change("UPDATE messages SET tries = ?", MAX_TRIES)  # and then its workers died
    await house.settle()
    [dead] = await house.dead()
    assert (dead.error or "").endswith(": RuntimeError: slow and broken")
