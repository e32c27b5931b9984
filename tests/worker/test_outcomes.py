"""How each claim ends, and what of it is recorded."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import MutableMapping
from contextlib import closing
from typing import Any

import pytest

from convoq.errors import DatabaseUnavailable, RetryLater, Snooze, Unrecoverable
from convoq.handlers.base import ClaimContext, each
from convoq.queue.base import Claim, Job, JobState
from tests.worker.harness import SOON, Gate, House, nothing


async def test_a_failing_job_is_tried_again_later(house: House) -> None:
    async def fail(_: ClaimContext) -> None:
        raise RuntimeError("broken")

    [job_id] = await house.put(None)
    async with house.working(fail) as running:
        record = await house.until(job_id, lambda record: record.error is not None)
        assert not running.task.done()
    assert (record.state, record.attempt) == (JobState.READY, 1)
    assert "RuntimeError: broken" in (record.error or "")
    assert await house.due_in() > 500


async def test_a_job_of_an_unknown_kind_is_deferred(house: House) -> None:
    [job_id] = await house.put(None, kind="of.the.future")
    async with house.working(nothing):
        record = await house.until(job_id, lambda record: record.reason is not None and not record.running)
    assert (record.state, record.attempt) == (JobState.READY, 0)
    assert 50 < await house.due_in() <= 60


async def test_a_job_of_an_unknown_kind_holds_up_nothing_behind_it(house: House) -> None:
    [unknown] = await house.put("a", kind="of.the.future")
    known = await house.put("a", "a")
    async with house.working(nothing):
        await house.until_done(*known)
        record = await house.until(unknown, lambda record: record.scheduled)
    assert (record.ordering_key, record.attempt, record.reason) == ("a", 0, "no handler for this kind here")


async def test_a_handler_over_its_deadline_is_tried_again(house: House) -> None:
    gate = Gate()
    [job_id] = await house.put(None)
    async with house.working(gate, deadline=0.05):
        record = await house.until(job_id, lambda record: record.error is not None)
    assert gate.cancelled.is_set()
    assert (record.state, record.attempt) == (JobState.READY, 1)
    assert "TimeoutError" in (record.error or "")


async def test_a_handler_that_cancels_itself_has_failed(house: House) -> None:
    async def cancel_itself(_: ClaimContext) -> None:
        task = asyncio.create_task(asyncio.sleep(60))
        task.cancel()
        await task

    [job_id] = await house.put(None)
    async with house.working(cancel_itself):
        record = await house.until(job_id, lambda record: record.error is not None)
    assert (record.state, record.attempt) == (JobState.READY, 1)
    assert await house.due_in() > 500


async def test_an_outcome_that_cannot_be_written_is_written_later_and_holds_up_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, events: list[MutableMapping[str, Any]]
) -> None:
    async with house.working(nothing, concurrency=1) as running:
        refusals = iter([DatabaseUnavailable("full")] * 3)
        ack = running.engine.ack

        async def sometimes(claim: Claim, **options: Any) -> None:
            for refusal in refusals:
                raise refusal
            await ack(claim, **options)

        monkeypatch.setattr(running.engine, "ack", sometimes)
        [unrecorded] = await house.put(None)
        await house.until(unrecorded, lambda record: record.claimed_at is not None)
        await house.until_done(*await house.put(None), unrecorded)
    assert (await house.record(unrecorded)).attempt == 1
    assert "job.outcome_waits" in [event["event"] for event in events]


async def test_an_outcome_that_cannot_be_written_does_not_hold_up_a_stop(
    house: House, monkeypatch: pytest.MonkeyPatch, events: list[MutableMapping[str, Any]]
) -> None:
    async with house.working(nothing) as running:
        monkeypatch.setattr(running.engine, "ack", refuse)
        [unrecorded] = await house.put(None)
        await house.until(unrecorded, lambda record: record.claimed_at is not None)
        await running.stop()
    assert [event["event"] for event in events if event["log_level"] == "error"] == ["job.outcome_unrecorded"]


async def refuse(claim: Claim, **options: Any) -> None:
    raise DatabaseUnavailable("full")


async def test_a_failure_counts_against_the_one_job_that_the_handler_names(house: House) -> None:
    async def fail_at_second(context: ClaimContext) -> None:
        context.running = context.claim.jobs[1:2]
        raise RuntimeError("second")

    ids = await house.put("a", "a", "a")
    async with house.working(fail_at_second, together={"k"}):
        await house.until(ids[1], lambda record: record.error is not None)
    records = [await house.record(job_id) for job_id in ids]
    assert [(record.state, record.attempt) for record in records] == [(JobState.READY, n) for n in (0, 1, 0)]


async def test_what_is_buried_alone_keeps_nothing_of_its_claim_waiting(house: House) -> None:
    async def refuse_second(context: ClaimContext) -> None:
        for job in context.claim.jobs:
            if job.id == ids[1]:
                context.running = (job,)
                raise Unrecoverable("no")

    ids = await house.put("a", "a", "a")
    async with house.working(refuse_second, together={"k"}):
        await house.until_done(ids[0], ids[2])
    assert [(await house.record(job_id)).attempt for job_id in ids] == [1, 1, 1]
    assert (await house.record(ids[1])).state is JobState.DEAD


async def test_a_job_has_the_whole_deadline_however_many_are_before_it_in_its_lane(house: House) -> None:
    ran: list[str] = []

    async def take_a_third(job: Job) -> None:
        ran.append(job.id)
        await asyncio.sleep(0.5)  # how long the job takes: a deadline counts the loop's time, and ends at no state

    ids = await house.put(*["a"] * 4)
    async with house.working(each(take_a_third), deadline=1.5):
        await house.until_done(*ids)
    assert ran == ids


async def test_jobs_of_a_forgotten_kind_are_gone_once_they_are_done(house: House) -> None:
    [job_id] = await house.put(None)
    [kept] = await house.receive("in|ann")
    async with house.working(nothing, intake=nothing, forgotten={"k"}):
        await house.until_done(kept)
        async with asyncio.timeout(SOON):
            while await house.engine.get(job_id) is not None:  # noqa: ASYNC110 # a row can only be looked at
                await asyncio.sleep(0.005)  # between two looks
    assert await house.engine.next_due() is None


async def test_jobs_of_a_handler_that_never_awaits_are_recorded_as_they_end(house: House) -> None:
    recorded: list[int] = []

    async def blocking(job: Job) -> None:
        time.sleep(0.02)  # noqa: ASYNC251 # a handler that blocks the loop is what is tested
        with closing(sqlite3.connect(house.database.path)) as other:
            recorded.append(other.execute("SELECT count(*) FROM jobs WHERE state = 'done'").fetchone()[0])

    ids = await house.put(*["a"] * 8)
    async with house.working(each(blocking)):
        await house.until_done(*ids)
    assert recorded[-1] > 0


async def test_a_stop_at_once_still_records_what_a_handler_has_done(house: House) -> None:
    begun, go_on = threading.Event(), threading.Event()
    blocker: list[asyncio.Task[None]] = []

    def block(_: sqlite3.Connection) -> None:
        begun.set()
        go_on.wait(SOON)

    async def end_behind_a_slow_write(_: ClaimContext) -> None:
        blocker.append(asyncio.create_task(house.database.write(block)))
        await asyncio.to_thread(begun.wait, SOON)

    [job_id] = await house.put(None)
    async with house.working(end_behind_a_slow_write) as running:
        await asyncio.to_thread(begun.wait, SOON)
        async with asyncio.timeout(SOON):
            while running.worker.busy:  # noqa: ASYNC110 # the handler's end has no event
                await asyncio.sleep(0)
        running.at_once.set()
        running.stopping.set()
        asyncio.get_running_loop().call_later(0.1, go_on.set)
        await running.ended()
    await asyncio.gather(*blocker)
    record = await house.record(job_id)
    assert (record.state, record.attempt) == (JobState.DONE, 1)


@pytest.mark.parametrize(("outcome", "attempts"), [(Snooze(30), 0), (RetryLater(30), 1)], ids=["snooze", "retry"])
async def test_an_outcome_as_a_value_delays_the_lane(house: House, outcome: Exception, attempts: int) -> None:
    async def handler(_: ClaimContext) -> None:
        raise outcome

    [job_id] = await house.put("lane")
    async with house.working(handler):
        record = await house.until(job_id, lambda record: record.claimed_at is not None and not record.running)
    assert record.attempt == attempts
    assert 25 < await house.due_in() <= 30


@pytest.mark.parametrize("wait", [0, -1, 0.0001, float("nan"), float("-inf")])
@pytest.mark.parametrize("outcome", [Snooze, RetryLater])
async def test_a_wait_of_nothing_is_a_second(
    house: House, outcome: type[Snooze] | type[RetryLater], wait: float
) -> None:
    runs = 0

    async def handler(_: ClaimContext) -> None:
        nonlocal runs
        runs += 1
        raise outcome(wait)

    [job_id] = await house.put(None)
    async with house.working(handler) as running:
        await house.until(job_id, lambda record: record.claimed_at is not None and not record.running)
        due_in = await house.due_in()
        await running.stop()
    assert runs == 1
    assert 0.5 < due_in <= 1
