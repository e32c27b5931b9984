"""What operators do: retry, cancel, discard and prune, each in batches and none to a running job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from convoq.jobs import NORMAL, PEOPLE, UPKEEP
from convoq.queue.base import Backend, JobFilter, State
from tests.clock import ManualClock
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


async def bury_front(backend: Backend) -> str:
    """Buries the first job of the only due claim and hands the rest back; its id."""
    claim = await take_one(backend)
    await backend.bury(claim, claim.jobs[:1], error="no")
    if claim.jobs[1:]:
        await backend.nack(claim, delay=0.0)
    return claim.jobs[0].id


async def test_a_retried_job_stands_in_its_old_place(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    await bury_front(backend)
    await put(backend, job(3, key="a"))
    assert await backend.retry_dead(JobFilter(states=(State.DEAD,))) == 1
    assert await takes_to_the_end(backend) == [1, 2, 3]


async def test_a_retried_job_makes_its_lane_as_urgent_as_itself(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, key="a", priority=PEOPLE))
    await bury_front(backend)
    await put(backend, job(2, priority=NORMAL))
    clock.advance(1.0)
    await put(backend, job(3, key="a", priority=UPKEEP))
    await backend.retry_dead(EVERYTHING)
    assert [numbers(claim) for claim in await take(backend, 1)] == [[1, 3]]


async def test_a_retried_job_is_ready_with_fresh_attempts(backend: Backend) -> None:
    [job_id] = await put(backend, job(key="a"))
    await fail(backend, 4)
    await bury_front(backend)
    assert await backend.retry_dead(JobFilter(ids=(job_id,))) == 1
    got = await record(backend, job_id)
    assert (got.state, got.attempt, got.finished_at, got.running) == (State.READY, 0, None, False)
    assert attempts(await take_one(backend)) == [1]


async def test_retried_jobs_keep_their_order(backend: Backend) -> None:
    await put(backend, *[job(n, key="a") for n in range(4)])
    claim = await take_one(backend)
    await backend.bury(claim, claim.jobs, error="no")
    assert await backend.retry_dead(EVERYTHING) == 4
    assert numbers(await take_one(backend)) == [0, 1, 2, 3]


async def test_a_cancelled_job_can_be_retried(backend: Backend) -> None:
    await put(backend, job(1))
    await backend.cancel(EVERYTHING)
    assert await backend.retry_dead(EVERYTHING) == 1
    assert await takes_to_the_end(backend) == [1]


async def test_a_retried_job_without_a_key_stands_alone_again(backend: Backend) -> None:
    await put(backend, job(1), job(2))
    for claim in await take(backend):
        await backend.bury(claim, claim.jobs, error="no")
    await backend.retry_dead(EVERYTHING)
    assert sorted(numbers(claim) for claim in await take(backend)) == [[1], [2]]


async def test_retry_leaves_ready_running_and_done_jobs_alone(backend: Backend) -> None:
    await put(backend, job(1))
    await takes_to_the_end(backend)
    await put(backend, job(2))
    await take_one(backend)
    await put(backend, job(3))
    before = await everything(backend)
    assert await backend.retry_dead(EVERYTHING) == 0
    assert await everything(backend) == before


async def test_a_retry_waits_behind_the_claim_of_its_lane(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    await bury_front(backend)
    await put(backend, job(2, key="a"))
    claim = await take_one(backend)
    await backend.retry_dead(EVERYTHING)
    assert await take(backend) == []
    await backend.ack(claim)
    assert numbers(await take_one(backend)) == [1]


async def test_a_job_buried_and_retried_under_a_claim_is_no_longer_the_claims(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    claim = await take_one(backend)
    await backend.bury(claim, claim.jobs[:1], error="no")
    await backend.retry_dead(EVERYTHING)
    await backend.ack(claim)
    again = await take_one(backend)
    assert (numbers(again), attempts(again)) == ([1], [1])


async def test_a_job_buried_and_retried_under_a_claim_gets_no_refund_from_it(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    claim = await take_one(backend)
    await backend.bury(claim, claim.jobs[:1], error="no")
    await backend.retry_dead(EVERYTHING)
    await backend.nack(claim, delay=0.0)
    assert [each.attempt for each in await everything(backend)] == [0, 0]


async def test_a_cancelled_job_in_the_middle_blocks_nobody(backend: Backend) -> None:
    ids = await put(backend, *[job(n, key="a") for n in range(3)])
    assert await backend.cancel(JobFilter(ids=(ids[1],))) == 1
    assert numbers(await take_one(backend)) == [0, 2]
    assert (await record(backend, ids[1])).state is State.CANCELLED


async def test_a_cancelled_job_at_the_front_lets_the_next_kind_come(backend: Backend) -> None:
    ids = await put(backend, job(1, key="a"), job(2, key="a", kind="send"))
    await backend.cancel(JobFilter(ids=(ids[0],)))
    assert numbers(await take_one(backend)) == [2]


async def test_a_running_job_is_not_cancelled(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    claim = await take_one(backend)
    before = await everything(backend)
    assert await backend.cancel(EVERYTHING) == 0
    assert await everything(backend) == before
    await backend.ack(claim)


async def test_a_job_behind_a_running_one_can_be_cancelled(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    [behind] = await put(backend, job(2, key="a"))
    assert await backend.cancel(EVERYTHING) == 1
    assert (await record(backend, behind)).state is State.CANCELLED
    await backend.ack(claim)
    assert await take(backend) == []


async def test_a_lane_whose_jobs_are_all_cancelled_vanishes(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    await backend.nack(await take_one(backend), delay=3600.0)
    assert await backend.cancel(JobFilter(lane="a")) == 2
    clock.advance(7200.0)
    assert await take(backend) == []
    await put(backend, job(3, key="a"))
    assert numbers(await take_one(backend)) == [3]


async def test_a_cancelled_lane_leaves_no_backoff_to_its_successor(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    await backend.nack(await take_one(backend), delay=3600.0)
    await backend.cancel(JobFilter(lane="a"))
    await put(backend, job(2, key="a"))
    assert numbers(await take_one(backend)) == [2]


async def test_a_scheduled_job_can_be_cancelled(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(delay=60.0))
    assert await backend.cancel(EVERYTHING) == 1
    clock.advance(60.0)
    assert await take(backend) == []


async def test_finished_jobs_are_not_cancelled(backend: Backend) -> None:
    names = await mixed(backend)
    assert await backend.cancel(EVERYTHING) == 1
    states = {names[each.id]: each.state for each in await everything(backend)}
    assert states == {
        "dead": State.DEAD,
        "done": State.DONE,
        "cancelled": State.CANCELLED,
        "ready": State.CANCELLED,
    }


async def test_discard_deletes_all_but_what_still_has_to_run(backend: Backend) -> None:
    names = await mixed(backend)
    await put(backend, job(5, key="z"))
    [running] = [claim for claim in await take(backend) if claim.lane == "z"]
    assert await backend.discard(EVERYTHING) == 3
    left = await everything(backend)
    assert {names.get(each.id, "running") for each in left} == {"ready", "running"}
    await backend.ack(running)


async def test_discard_keeps_to_its_filter(backend: Backend) -> None:
    names = await mixed(backend)
    assert await backend.discard(JobFilter(states=(State.DEAD,))) == 1
    assert {names[each.id] for each in await everything(backend)} == {"done", "cancelled", "ready"}


Bulk = Callable[[Backend], Awaitable[int]]


@pytest.mark.parametrize(
    ("bulk", "setup"),
    [
        (lambda backend: backend.cancel(EVERYTHING, limit=2), "ready"),
        (lambda backend: backend.retry_dead(EVERYTHING, limit=2), "dead"),
        (lambda backend: backend.discard(EVERYTHING, limit=2), "dead"),
        (lambda backend: backend.prune(older_than=0.0, limit=2), "done"),
    ],
    ids=["cancel", "retry_dead", "discard", "prune"],
)
async def test_a_bulk_verb_works_in_batches_of_its_limit(
    backend: Backend, clock: ManualClock, bulk: Bulk, setup: str
) -> None:
    await put(backend, *[job(n, key=f"{n % 2}") for n in range(5)])
    for claim in await take(backend) if setup != "ready" else []:
        await (backend.ack(claim) if setup == "done" else backend.bury(claim, claim.jobs, error="no"))
    clock.advance(1.0)
    assert [await bulk(backend) for _ in range(4)] == [2, 2, 1, 0]


async def test_prune_deletes_what_ended_longer_ago(backend: Backend, clock: ManualClock) -> None:
    old = await put(backend, job(1), job(2))
    await backend.cancel(JobFilter(ids=(old[1],)))
    await takes_to_the_end(backend)
    clock.advance(100.0)
    [young] = await put(backend, job(3))
    await takes_to_the_end(backend)
    clock.advance(1.0)
    assert await backend.prune(older_than=50.0) == 2
    assert [each.id for each in await everything(backend)] == [young]
    assert await backend.get(old[0]) is None


async def test_prune_counts_from_the_end_and_not_from_the_enqueue(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job())
    claim = await take_one(backend, lease=DAY)
    clock.advance(1000.0)
    await backend.ack(claim)
    clock.advance(10.0)
    assert await backend.prune(older_than=500.0) == 0


async def test_prune_keeps_dead_letters(backend: Backend, clock: ManualClock) -> None:
    [job_id] = await put(backend, job())
    await bury_front(backend)
    clock.advance(3650 * DAY)
    assert await backend.prune(older_than=DAY) == 0
    assert (await record(backend, job_id)).state is State.DEAD


async def test_prune_keeps_what_has_not_run(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1), job(2, delay=3650 * DAY))
    clock.advance(365 * DAY)
    assert await backend.prune(older_than=DAY) == 0
    assert len(await everything(backend)) == 2
