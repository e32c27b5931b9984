"""What operators do: retry, cancel, discard and prune, each in batches and none to a running job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from convoq.jobs import NORMAL, PEOPLE, UPKEEP
from convoq.queue.base import JobFilter, JobState
from tests.clock import ManualClock
from tests.queue.conftest import Engine
from tests.queue.contract.steps import (
    DAY,
    EVERYTHING,
    attempts,
    everything,
    fail,
    job,
    mixed,
    numbers,
    put,
    record,
    take,
    take_one,
    takes_to_the_end,
)


async def bury_front(engine: Engine) -> str:
    """Buries the first job of the only due claim and hands the rest back; its id."""
    claim = await take_one(engine)
    await engine.bury(claim, claim.jobs[:1], error="no")
    if claim.jobs[1:]:
        await engine.nack(claim, delay=0.0)
    return claim.jobs[0].id


async def test_a_retried_job_stands_in_its_old_place(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="a"))
    await bury_front(engine)
    await put(engine, job(3, key="a"))
    assert await engine.retry_dead(JobFilter(states=(JobState.DEAD,))) == 1
    assert await takes_to_the_end(engine) == [1, 2, 3]


async def test_a_retried_job_makes_its_lane_as_urgent_as_itself(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a", priority=PEOPLE))
    await bury_front(engine)
    await put(engine, job(2, priority=NORMAL))
    clock.advance(1.0)
    await put(engine, job(3, key="a", priority=UPKEEP))
    await engine.retry_dead(EVERYTHING)
    assert [numbers(claim) for claim in await take(engine, 1)] == [[1, 3]]


async def test_a_retried_job_is_ready_with_fresh_attempts(engine: Engine) -> None:
    [job_id] = await put(engine, job(key="a"))
    await fail(engine, 4)
    await bury_front(engine)
    assert await engine.retry_dead(JobFilter(ids=(job_id,))) == 1
    got = await record(engine, job_id)
    assert (got.state, got.attempt, got.finished_at, got.running) == (JobState.READY, 0, None, False)
    assert attempts(await take_one(engine)) == [1]


async def test_retried_jobs_keep_their_order(engine: Engine) -> None:
    await put(engine, *[job(n, key="a") for n in range(4)])
    claim = await take_one(engine)
    await engine.bury(claim, claim.jobs, error="no")
    assert await engine.retry_dead(EVERYTHING) == 4
    assert numbers(await take_one(engine)) == [0, 1, 2, 3]


async def test_a_cancelled_job_can_be_retried(engine: Engine) -> None:
    await put(engine, job(1))
    await engine.cancel(EVERYTHING)
    assert await engine.retry_dead(EVERYTHING) == 1
    assert await takes_to_the_end(engine) == [1]


async def test_a_retried_job_without_a_key_stands_alone_again(engine: Engine) -> None:
    await put(engine, job(1), job(2))
    for claim in await take(engine):
        await engine.bury(claim, claim.jobs, error="no")
    await engine.retry_dead(EVERYTHING)
    assert sorted(numbers(claim) for claim in await take(engine)) == [[1], [2]]


async def test_retry_leaves_ready_running_and_done_jobs_alone(engine: Engine) -> None:
    await put(engine, job(1))
    await takes_to_the_end(engine)
    await put(engine, job(2))
    await take_one(engine)
    await put(engine, job(3))
    before = await everything(engine)
    assert await engine.retry_dead(EVERYTHING) == 0
    assert await everything(engine) == before


async def test_a_retry_waits_behind_the_claim_of_its_lane(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    await bury_front(engine)
    await put(engine, job(2, key="a"))
    claim = await take_one(engine)
    await engine.retry_dead(EVERYTHING)
    assert await take(engine) == []
    await engine.ack(claim)
    assert numbers(await take_one(engine)) == [1]


async def test_a_job_buried_and_retried_under_a_claim_is_no_longer_the_claims(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="a"))
    claim = await take_one(engine)
    await engine.bury(claim, claim.jobs[:1], error="no")
    await engine.retry_dead(EVERYTHING)
    await engine.ack(claim)
    again = await take_one(engine)
    assert (numbers(again), attempts(again)) == ([1], [1])


async def test_a_job_buried_and_retried_under_a_claim_gets_no_refund_from_it(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="a"))
    claim = await take_one(engine)
    await engine.bury(claim, claim.jobs[:1], error="no")
    await engine.retry_dead(EVERYTHING)
    await engine.nack(claim, delay=0.0)
    assert [each.attempt for each in await everything(engine)] == [0, 0]


async def test_a_cancelled_job_in_the_middle_blocks_nobody(engine: Engine) -> None:
    ids = await put(engine, *[job(n, key="a") for n in range(3)])
    assert await engine.cancel(JobFilter(ids=(ids[1],))) == 1
    assert numbers(await take_one(engine)) == [0, 2]
    assert (await record(engine, ids[1])).state is JobState.CANCELLED


async def test_a_cancelled_job_at_the_front_lets_the_next_kind_come(engine: Engine) -> None:
    ids = await put(engine, job(1, key="a"), job(2, key="a", kind="send"))
    await engine.cancel(JobFilter(ids=(ids[0],)))
    assert numbers(await take_one(engine)) == [2]


async def test_a_running_job_is_not_cancelled(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="a"))
    claim = await take_one(engine)
    before = await everything(engine)
    assert await engine.cancel(EVERYTHING) == 0
    assert await everything(engine) == before
    await engine.ack(claim)


async def test_a_job_behind_a_running_one_can_be_cancelled(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    [behind] = await put(engine, job(2, key="a"))
    assert await engine.cancel(EVERYTHING) == 1
    assert (await record(engine, behind)).state is JobState.CANCELLED
    await engine.ack(claim)
    assert await take(engine) == []


async def test_a_lane_whose_jobs_are_all_cancelled_vanishes(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a"), job(2, key="a"))
    await engine.nack(await take_one(engine), delay=3600.0)
    assert await engine.cancel(JobFilter(ordering_key="a")) == 2
    clock.advance(7200.0)
    assert await take(engine) == []
    await put(engine, job(3, key="a"))
    assert numbers(await take_one(engine)) == [3]


async def test_a_cancelled_lane_leaves_no_backoff_to_its_successor(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    await engine.nack(await take_one(engine), delay=3600.0)
    await engine.cancel(JobFilter(ordering_key="a"))
    await put(engine, job(2, key="a"))
    assert numbers(await take_one(engine)) == [2]


async def test_what_stood_behind_a_cancelled_job_does_not_wait_out_its_backoff(engine: Engine) -> None:
    [front, _] = await put(engine, job(1, key="a"), job(2, key="a", kind="send"))
    await engine.nack(await take_one(engine), delay=3600.0, reason="the model is down")
    await engine.cancel(JobFilter(ids=(front,)))
    assert numbers(await take_one(engine)) == [2]


async def test_a_job_goes_on_waiting_when_what_stood_behind_it_is_cancelled(engine: Engine) -> None:
    [front, behind] = await put(engine, job(1, key="a"), job(2, key="a", kind="send"))
    await engine.nack(await take_one(engine), delay=3600.0, reason="the model is down")
    await engine.cancel(JobFilter(ids=(behind,)))
    assert (await take(engine), (await record(engine, front)).reason) == ([], "the model is down")


async def test_a_scheduled_job_can_be_cancelled(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(delay=60.0))
    assert await engine.cancel(EVERYTHING) == 1
    clock.advance(60.0)
    assert await take(engine) == []


async def test_finished_jobs_are_not_cancelled(engine: Engine) -> None:
    names = await mixed(engine)
    assert await engine.cancel(EVERYTHING) == 1
    states = {names[each.id]: each.state for each in await everything(engine)}
    assert states == {
        "dead": JobState.DEAD,
        "done": JobState.DONE,
        "cancelled": JobState.CANCELLED,
        "ready": JobState.CANCELLED,
    }


async def test_discard_deletes_all_but_what_still_has_to_run(engine: Engine) -> None:
    names = await mixed(engine)
    await put(engine, job(5, key="z"))
    [running] = [claim for claim in await take(engine) if claim.lane == "z"]
    assert await engine.discard(EVERYTHING) == 3
    left = await everything(engine)
    assert {names.get(each.id, "running") for each in left} == {"ready", "running"}
    await engine.ack(running)


async def test_discard_keeps_to_its_filter(engine: Engine) -> None:
    names = await mixed(engine)
    assert await engine.discard(JobFilter(states=(JobState.DEAD,))) == 1
    assert {names[each.id] for each in await everything(engine)} == {"done", "cancelled", "ready"}


Bulk = Callable[[Engine], Awaitable[int]]


@pytest.mark.parametrize(
    ("bulk", "setup"),
    [
        (lambda engine: engine.cancel(EVERYTHING, limit=2), "ready"),
        (lambda engine: engine.retry_dead(EVERYTHING, limit=2), "dead"),
        (lambda engine: engine.discard(EVERYTHING, limit=2), "dead"),
        (lambda engine: engine.prune(older_than=0.0, limit=2), "done"),
    ],
    ids=["cancel", "retry_dead", "discard", "prune"],
)
async def test_a_bulk_verb_works_in_batches_of_its_limit(
    engine: Engine, clock: ManualClock, bulk: Bulk, setup: str
) -> None:
    await put(engine, *[job(n, key=f"{n % 2}") for n in range(5)])
    for claim in await take(engine) if setup != "ready" else []:
        await (engine.ack(claim) if setup == "done" else engine.bury(claim, claim.jobs, error="no"))
    clock.advance(1.0)
    assert [await bulk(engine) for _ in range(4)] == [2, 2, 1, 0]


async def test_prune_deletes_what_ended_longer_ago(engine: Engine, clock: ManualClock) -> None:
    old = await put(engine, job(1), job(2))
    await engine.cancel(JobFilter(ids=(old[1],)))
    await takes_to_the_end(engine)
    clock.advance(100.0)
    [young] = await put(engine, job(3))
    await takes_to_the_end(engine)
    clock.advance(1.0)
    assert await engine.prune(older_than=50.0) == 2
    assert [each.id for each in await everything(engine)] == [young]
    assert await engine.get(old[0]) is None


async def test_prune_counts_from_the_end_and_not_from_the_enqueue(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job())
    claim = await take_one(engine, lease=DAY)
    clock.advance(1000.0)
    await engine.ack(claim)
    clock.advance(10.0)
    assert await engine.prune(older_than=500.0) == 0


async def test_prune_keeps_dead_letters(engine: Engine, clock: ManualClock) -> None:
    [job_id] = await put(engine, job())
    await bury_front(engine)
    clock.advance(3650 * DAY)
    assert await engine.prune(older_than=DAY) == 0
    assert (await record(engine, job_id)).state is JobState.DEAD


async def test_prune_keeps_what_has_not_run(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1), job(2, delay=3650 * DAY))
    clock.advance(365 * DAY)
    assert await engine.prune(older_than=DAY) == 0
    assert len(await everything(engine)) == 2
