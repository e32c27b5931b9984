"""What every backend keeps: each sentence of the queue's contract, one fact a test."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from convoq.clock import WallClock
from convoq.errors import ConvoqError, LeaseLost
from convoq.jobs import NORMAL, PEOPLE, UPKEEP, NewJob
from convoq.queue.base import Backend, Claim, Enqueued, JobFilter, JobRecord, KindStats, State
from tests.clock import ManualClock
from tests.queue.conftest import OpenBackend, Opened, StartChild

LEASE = 30.0
DAY = 86_400.0
PROMPTLY = 5.0  #: seconds; far below the timeouts that the waits under test are given
LONG = 60.0
EVERYTHING = JobFilter()


def job(
    n: int = 0,
    *,
    kind: str = "reply",
    key: str | None = None,
    dedup: str | None = None,
    delay: float = 0.0,
    priority: int = NORMAL,
    max_attempts: int | None = None,
) -> NewJob:
    return NewJob(
        kind=kind,
        payload=json.dumps({"n": n}),
        ordering_key=key,
        dedup_key=dedup,
        delay=delay,
        priority=priority,
        max_attempts=max_attempts,
    )


async def put(backend: Backend, *jobs: NewJob) -> list[str]:
    """Enqueues and returns the ids."""
    return [result.job_id for result in await backend.enqueue(jobs, max_attempts=5)]


async def take(backend: Backend, limit: int = 100, *, lease: float = LEASE, worker: str = "w") -> list[Claim]:
    return await backend.claim(limit, lease=lease, worker=worker)


async def take_one(backend: Backend, *, lease: float = LEASE, worker: str = "w") -> Claim:
    """The one claim that there must be."""
    claims = await take(backend, lease=lease, worker=worker)
    assert len(claims) == 1, claims
    return claims[0]


def numbers(claim: Claim) -> list[int]:
    return [json.loads(each.payload)["n"] for each in claim.jobs]


def attempts(claim: Claim) -> list[int]:
    return [each.attempt for each in claim.jobs]


async def record(backend: Backend, job_id: str) -> JobRecord:
    found = await backend.get(job_id)
    assert found is not None, f"job {job_id} is gone"
    return found


async def everything(backend: Backend) -> list[JobRecord]:
    return await backend.list(EVERYTHING, limit=10_000)


async def of_kind(backend: Backend, kind: str = "reply") -> KindStats:
    return (await backend.stats()).kinds.get(kind, KindStats())


async def fail(backend: Backend, times: int) -> None:
    """Runs the front of the only due lane `times` times without success, each one charged."""
    for _ in range(times):
        claim = await take_one(backend)
        await backend.nack(claim, delay=0.0, charged=claim.jobs)


async def takes_to_the_end(backend: Backend) -> list[int]:
    """Claims and acks until nothing is due; the jobs' numbers in the order they were handed out."""
    seen: list[int] = []
    while claims := await take(backend):
        for claim in claims:
            seen += numbers(claim)
            await backend.ack(claim)
    return seen


# --- enqueue ---------------------------------------------------------------------------------------------------------


async def test_enqueue_gives_one_result_per_job_in_order(backend: Backend) -> None:
    results = await backend.enqueue([job(n) for n in range(5)], max_attempts=5)
    assert [json.loads((await record(backend, each.job_id)).payload)["n"] for each in results] == [0, 1, 2, 3, 4]


async def test_a_new_job_is_no_duplicate(backend: Backend) -> None:
    results = await backend.enqueue([job(1), job(1), job(1, dedup="k")], max_attempts=5)
    assert [each.duplicate for each in results] == [False, False, False]
    assert len({each.job_id for each in results}) == 3


async def test_enqueue_of_no_jobs_is_nothing(backend: Backend) -> None:
    assert await backend.enqueue([], max_attempts=5) == []
    assert await take(backend) == []


async def test_an_enqueued_job_is_seen_by_another_backend(backend: Backend, open_backend: OpenBackend) -> None:
    await put(backend, job(7))
    assert numbers(await take_one((await open_backend()).backend)) == [7]


async def test_an_enqueued_job_outlives_the_kill_of_its_process(
    open_backend: OpenBackend, start_child: StartChild
) -> None:
    child = await start_child("enqueue")
    await child.kill()
    assert (await take_one((await open_backend()).backend)).jobs[0].id == child.said


async def test_a_job_comes_back_as_it_went_in(backend: Backend, clock: ManualClock) -> None:
    payload = json.dumps({"body": "Grüße 👋 \u0000 ' \" % \n", "n": 1}, ensure_ascii=False)
    [job_id] = await put(backend, NewJob(kind="send_message", payload=payload, max_attempts=3))
    [got] = (await take_one(backend)).jobs
    assert (got.id, got.kind, got.payload, got.attempt, got.max_attempts, got.enqueued_at) == (
        job_id,
        "send_message",
        payload,
        1,
        3,
        clock.now(),
    )


async def test_a_job_without_max_attempts_gets_the_callers_default(backend: Backend) -> None:
    await backend.enqueue([job()], max_attempts=9)
    assert (await take_one(backend)).jobs[0].max_attempts == 9


async def test_many_jobs_are_enqueued_all_or_none(backend: Backend) -> None:
    unwritable = NewJob(kind="reply", payload='"\ud800"')
    with pytest.raises((ValueError, ConvoqError)):
        await backend.enqueue([job(1, key="a", dedup="k"), unwritable, job(2)], max_attempts=5)
    assert await everything(backend) == []
    assert await take(backend) == []


async def test_a_failed_enqueue_leaves_no_dedup_key(backend: Backend) -> None:
    with pytest.raises((ValueError, ConvoqError)):
        await backend.enqueue([job(1, dedup="k"), NewJob(kind="reply", payload='"\ud800"')], max_attempts=5)
    assert [each.duplicate for each in await backend.enqueue([job(1, dedup="k")], max_attempts=5)] == [False]


async def test_a_failed_enqueue_fails_none_of_those_beside_it(backend: Backend) -> None:
    bad = backend.enqueue([NewJob(kind="reply", payload='"\ud800"')], max_attempts=5)
    good = [backend.enqueue([job(n)], max_attempts=5) for n in range(10)]
    results = await asyncio.gather(*good[:5], bad, *good[5:], return_exceptions=True)
    assert sum(isinstance(each, BaseException) for each in results) == 1
    assert len(await everything(backend)) == 10


def test_a_delay_with_an_ordering_key_is_refused() -> None:
    with pytest.raises(ValueError, match="ordering key"):
        job(key="a", delay=1.0)


# --- dedup -----------------------------------------------------------------------------------------------------------


async def enqueue_twin(backend: Backend, first: str) -> None:
    """A second job with the key "k" is reported as the first's duplicate and is not stored."""
    before = await everything(backend)
    assert await backend.enqueue([job(99, dedup="k")], max_attempts=5) == [Enqueued(first, duplicate=True)]
    assert await everything(backend) == before


async def test_a_key_twice_in_one_call_is_one_job(backend: Backend) -> None:
    first, second = await backend.enqueue([job(1, dedup="k"), job(2, dedup="k")], max_attempts=5)
    assert (first.duplicate, second) == (False, Enqueued(first.job_id, duplicate=True))
    assert await takes_to_the_end(backend) == [1]


async def test_a_key_in_a_later_call_is_a_duplicate(backend: Backend) -> None:
    [first] = await put(backend, job(dedup="k"))
    await enqueue_twin(backend, first)


async def test_a_key_is_a_duplicate_while_its_job_runs(backend: Backend) -> None:
    [first] = await put(backend, job(dedup="k"))
    await take_one(backend)
    await enqueue_twin(backend, first)


async def test_a_key_is_a_duplicate_after_its_job_is_done(backend: Backend) -> None:
    [first] = await put(backend, job(dedup="k"))
    await takes_to_the_end(backend)
    await enqueue_twin(backend, first)


async def test_a_key_is_a_duplicate_after_its_job_is_dead(backend: Backend) -> None:
    [first] = await put(backend, job(dedup="k"))
    claim = await take_one(backend)
    await backend.bury(claim, claim.jobs, error="no")
    await enqueue_twin(backend, first)


async def test_a_key_is_a_duplicate_after_its_job_is_cancelled(backend: Backend) -> None:
    [first] = await put(backend, job(dedup="k"))
    await backend.cancel(EVERYTHING)
    await enqueue_twin(backend, first)


async def test_a_key_is_a_duplicate_after_its_job_is_discarded(backend: Backend) -> None:
    [first] = await put(backend, job(dedup="k"))
    await takes_to_the_end(backend)
    assert await backend.discard(EVERYTHING) == 1
    await enqueue_twin(backend, first)


async def test_a_key_is_a_duplicate_after_its_job_is_pruned(backend: Backend, clock: ManualClock) -> None:
    [first] = await put(backend, job(dedup="k"))
    await takes_to_the_end(backend)
    clock.advance(8 * DAY)
    assert await backend.prune(older_than=7 * DAY) == 1
    await enqueue_twin(backend, first)


async def test_a_key_is_kept_for_weeks_while_pruning_goes_on(backend: Backend, clock: ManualClock) -> None:
    [first] = await put(backend, job(dedup="k"))
    await takes_to_the_end(backend)
    for _ in range(29):
        clock.advance(DAY)
        await backend.prune(older_than=DAY)
    await enqueue_twin(backend, first)


async def test_a_key_is_free_again_after_its_retention(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, dedup="k"))
    await takes_to_the_end(backend)
    clock.advance(31 * DAY)
    await backend.prune(older_than=DAY)
    [again] = await backend.enqueue([job(2, dedup="k")], max_attempts=5)
    assert again.duplicate is False
    assert await takes_to_the_end(backend) == [2]


async def test_a_key_is_a_duplicate_on_another_backend(backend: Backend, open_backend: OpenBackend) -> None:
    [first] = await put(backend, job(dedup="k"))
    await enqueue_twin((await open_backend()).backend, first)


async def test_a_key_is_a_duplicate_in_another_lane_and_kind(backend: Backend) -> None:
    [first] = await put(backend, job(1, key="a", dedup="k"))
    twin = job(2, kind="upkeep", key="b", dedup="k")
    assert await backend.enqueue([twin], max_attempts=5) == [Enqueued(first, duplicate=True)]


async def test_a_duplicate_does_not_hold_back_its_neighbours(backend: Backend) -> None:
    await put(backend, job(1, key="a", dedup="k"))
    results = await backend.enqueue([job(2, key="a"), job(3, key="a", dedup="k"), job(4, key="a")], max_attempts=5)
    assert [each.duplicate for each in results] == [False, True, False]
    assert numbers(await take_one(backend)) == [1, 2, 4]


async def test_a_duplicate_does_not_bring_a_delayed_job_forward(backend: Backend) -> None:
    [first] = await put(backend, job(dedup="k", delay=60.0))
    await enqueue_twin(backend, first)
    assert await take(backend) == []


async def test_racing_enqueues_of_one_key_store_one_job(backend: Backend, open_backend: OpenBackend) -> None:
    others = [backend, (await open_backend()).backend]
    racers = [others[n % 2].enqueue([job(n, dedup="k")], max_attempts=5) for n in range(20)]
    results = [result for [result] in await asyncio.gather(*racers)]
    assert sum(not each.duplicate for each in results) == 1
    assert len({each.job_id for each in results}) == 1
    assert len(await everything(backend)) == 1


async def test_keys_that_only_look_alike_are_different_jobs(backend: Backend) -> None:
    alike = ["1", "01", "1.0", " 1", "1 ", "١", "k", "K", "é", "e\u0301", "k\u0000a", "k\u0000b", "b'k'", "", "👋"]
    results = await backend.enqueue([job(n, dedup=key) for n, key in enumerate(alike)], max_attempts=5)
    assert [each.duplicate for each in results] == [False] * len(alike)
    again = await backend.enqueue([job(n, dedup=key) for n, key in enumerate(alike)], max_attempts=5)
    assert again == [Enqueued(each.job_id, duplicate=True) for each in results]


# --- what is due, and in which order ---------------------------------------------------------------------------------


async def test_an_empty_queue_gives_no_claim(backend: Backend) -> None:
    assert await take(backend) == []


async def test_a_claim_of_nothing_gives_nothing(backend: Backend) -> None:
    await put(backend, job())
    assert await take(backend, limit=0) == []
    assert (await everything(backend))[0].attempt == 0


async def test_a_delayed_job_is_due_at_its_time_and_not_before(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(delay=10.0))
    clock.advance(9.999)
    assert await take(backend) == []
    clock.advance(0.001)
    assert numbers(await take_one(backend)) == [0]


async def test_a_delayed_job_holds_back_no_other(backend: Backend) -> None:
    await put(backend, job(1, delay=60.0), job(2))
    assert await takes_to_the_end(backend) == [2]


async def test_urgent_lanes_come_first(backend: Backend, clock: ManualClock) -> None:
    for n, priority in enumerate((UPKEEP, NORMAL, PEOPLE)):
        await put(backend, job(n, priority=priority))
        clock.advance(1.0)
    assert [numbers(claim) for claim in await take(backend)] == [[2], [1], [0]]


async def test_a_limited_claim_leaves_the_less_urgent(backend: Backend) -> None:
    await put(backend, job(1, priority=UPKEEP), job(2, priority=PEOPLE), job(3, priority=NORMAL))
    assert [numbers(claim) for claim in await take(backend, 2)] == [[2], [3]]


async def test_a_lane_is_as_urgent_as_its_most_urgent_job(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, priority=NORMAL))
    clock.advance(1.0)
    await put(backend, job(2, key="a", priority=UPKEEP), job(3, key="a", priority=PEOPLE))
    assert [numbers(claim) for claim in await take(backend)] == [[2, 3], [1]]


async def test_of_equally_urgent_lanes_the_longest_due_comes_first(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, delay=10.0))
    for n in (2, 3):
        clock.advance(4.0)
        await put(backend, job(n))
    clock.advance(4.0)
    await put(backend, job(4))
    assert [numbers(claim) for claim in await take(backend)] == [[2], [3], [1], [4]]


async def test_a_lane_that_goes_on_stands_behind_those_that_waited(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, key="busy"))
    claim = await take_one(backend)
    await put(backend, job(2, key="busy"))
    clock.advance(1.0)
    await put(backend, job(3, key="patient"))
    clock.advance(1.0)
    await backend.ack(claim)
    assert [numbers(each) for each in await take(backend)] == [[3], [2]]


async def test_the_limit_counts_lanes(backend: Backend) -> None:
    await put(backend, *[job(n, key=key) for key in "abc" for n in (1, 2)])
    assert [numbers(claim) for claim in await take(backend, 2)] == [[1, 2], [1, 2]]
    assert [claim.lane for claim in await take(backend, 2)] == ["c"]


# --- lanes -----------------------------------------------------------------------------------------------------------


async def test_a_burst_is_one_claim_oldest_first(backend: Backend) -> None:
    for n in range(10):
        await put(backend, job(n, key="a"))
    claim = await take_one(backend)
    assert (numbers(claim), claim.lane, claim.kind) == (list(range(10)), "a", "reply")


async def test_a_lane_under_a_live_claim_is_not_handed_out(backend: Backend, open_backend: OpenBackend) -> None:
    await put(backend, job(1, key="a"))
    await take_one(backend)
    await put(backend, job(2, key="a"))
    assert await take(backend) == []
    assert await take((await open_backend()).backend, worker="other") == []


async def test_racing_claimers_share_the_lanes(backend: Backend, open_backend: OpenBackend) -> None:
    await put(backend, *[job(n, key=f"lane-{n % 20}") for n in range(40)])
    others = [backend, (await open_backend()).backend, (await open_backend()).backend]
    racers = [take(others[n % 3], 3, worker=str(n % 3)) for n in range(30)]
    lanes = [claim.lane for claims in await asyncio.gather(*racers) for claim in claims]
    assert sorted(lanes) == sorted(f"lane-{n}" for n in range(20))


async def test_lanes_are_claimed_beside_each_other(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="b"), job(3))
    assert sorted(numbers(claim) for claim in await take(backend)) == [[1], [2], [3]]


async def test_jobs_without_a_key_stand_in_lanes_of_their_own(backend: Backend) -> None:
    await put(backend, job(1), job(2), job(3))
    claims = await take(backend)
    assert [len(claim.jobs) for claim in claims] == [1, 1, 1]
    assert len({claim.lane for claim in claims}) == 3


async def test_an_ordering_key_never_names_the_lane_of_a_job_without_one(backend: Backend) -> None:
    [alone] = await put(backend, job(1, delay=60.0))
    await put(backend, job(2, key=alone))
    assert numbers(await take_one(backend)) == [2]


async def test_ordering_keys_that_only_look_alike_are_different_lanes(backend: Backend) -> None:
    alike = [" ", "a", "A", "1", "01", "é", "e\u0301", "x\u0000a", "x\u0000b", "sms|+1|+2", "sms|+1|+2 "]
    await put(backend, *[job(n, key=key) for n, key in enumerate(alike)])
    await put(backend, *[job(n, key=key) for n, key in enumerate(alike)])
    claims = await take(backend)
    assert sorted(numbers(claim) for claim in claims) == [[n, n] for n in range(len(alike))]
    assert {claim.lane for claim in claims} == set(alike)


@pytest.mark.parametrize("key", ["", "~", "~1"])
def test_an_ordering_key_that_could_be_taken_for_none_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="ordering key"):
        job(key=key)


async def test_mixed_kinds_come_as_successive_claims_in_order(backend: Backend) -> None:
    kinds = ["reply", "reply", "send", "reply", "send", "send"]
    await put(backend, *[job(n, key="a", kind=kind) for n, kind in enumerate(kinds)])
    seen = []
    while claims := await take(backend):
        [claim] = claims
        assert {each.kind for each in claim.jobs} == {claim.kind}
        seen.append(numbers(claim))
        await backend.ack(claim)
    assert seen == [[0, 1], [2], [3], [4, 5]]


async def test_jobs_that_arrive_under_a_claim_wait_and_are_due_at_once_after_it(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await put(backend, job(2, key="a"), job(3, key="a"))
    assert await take(backend) == []
    await backend.ack(claim)
    assert numbers(await take_one(backend)) == [2, 3]


async def test_a_long_lane_is_handed_out_in_order_and_whole(backend: Backend) -> None:
    await put(backend, *[job(n, key="a") for n in range(500)])
    assert await takes_to_the_end(backend) == list(range(500))


async def test_enqueues_of_two_producers_keep_each_ones_order(backend: Backend, open_backend: OpenBackend) -> None:
    other = (await open_backend()).backend
    for n in range(0, 20, 2):
        await put(backend, job(n, key="a"))
        await put(other, job(n + 1, key="a"))
    assert await takes_to_the_end(backend) == list(range(20))


async def test_a_lane_that_was_emptied_takes_jobs_again(backend: Backend) -> None:
    for n in range(3):
        await put(backend, job(n, key="a"))
        assert await takes_to_the_end(backend) == [n]


# --- attempts --------------------------------------------------------------------------------------------------------


async def test_an_attempt_is_charged_at_the_claim(backend: Backend) -> None:
    [job_id] = await put(backend, job())
    assert (await record(backend, job_id)).attempt == 0
    assert attempts(await take_one(backend)) == [1]
    assert (await record(backend, job_id)).attempt == 1


async def test_a_charged_job_keeps_its_attempt(backend: Backend) -> None:
    await put(backend, job())
    await fail(backend, 1)
    assert (await everything(backend))[0].attempt == 1
    assert attempts(await take_one(backend)) == [2]


async def test_a_snooze_costs_no_attempt(backend: Backend) -> None:
    await put(backend, job())
    for _ in range(5):
        claim = await take_one(backend)
        assert attempts(claim) == [1]
        await backend.nack(claim, delay=0.0)
        assert (await everything(backend))[0].attempt == 0


async def test_only_the_charged_jobs_of_a_claim_pay(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    claim = await take_one(backend)
    await backend.nack(claim, delay=0.0, charged=claim.jobs[:1])
    again = await take_one(backend)
    assert (numbers(again), attempts(again)) == ([1, 2], [2, 1])


async def test_a_snooze_keeps_the_attempts_that_were_charged_before(backend: Backend) -> None:
    await put(backend, job())
    await fail(backend, 3)
    await backend.nack(await take_one(backend), delay=0.0)
    assert attempts(await take_one(backend)) == [4]


async def test_the_first_two_attempts_come_with_their_neighbours(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    await fail(backend, 1)
    claim = await take_one(backend)
    assert (numbers(claim), attempts(claim)) == ([1, 2], [2, 2])


async def test_from_the_third_attempt_on_a_job_comes_alone(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    await fail(backend, 2)
    for attempt in (3, 4):
        claim = await take_one(backend)
        assert (numbers(claim), attempts(claim)) == ([1], [attempt])
        await backend.nack(claim, delay=0.0, charged=claim.jobs)


async def test_the_neighbour_of_a_poison_job_pays_nothing_for_its_third_attempt(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    await fail(backend, 2)
    await put(backend, job(2, key="a"))
    await backend.ack(await take_one(backend))
    assert attempts(await take_one(backend)) == [1]


async def test_a_job_behind_with_two_attempts_is_not_taken_along(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"), job(3, key="a"))
    for _ in range(2):
        claim = await take_one(backend)
        await backend.nack(claim, delay=0.0, charged=claim.jobs[1:2])
    seen = []
    while claims := await take(backend):
        seen.append((numbers(claims[0]), attempts(claims[0])))
        await backend.ack(claims[0])
    assert seen == [([1], [1]), ([2], [3]), ([3], [1])]


async def test_a_job_past_its_max_attempts_is_still_handed_out(backend: Backend) -> None:
    await put(backend, job(max_attempts=1))
    await fail(backend, 1)
    [got] = (await take_one(backend)).jobs
    assert (got.attempt, got.max_attempts) == (2, 1)


# --- the lease -------------------------------------------------------------------------------------------------------


async def test_a_lane_is_due_again_when_its_lease_runs_out(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    await take_one(backend, lease=30.0)
    clock.advance(29.999)
    assert await take(backend) == []
    clock.advance(0.001)
    again = await take_one(backend)
    assert (numbers(again), attempts(again)) == ([1, 2], [2, 2])


async def test_every_claim_has_a_receipt_of_its_own(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, key="a"), job(2, key="b"))
    receipts = [claim.receipt for claim in await take(backend)]
    clock.advance(LEASE)
    receipts += [claim.receipt for claim in await take(backend)]
    assert len(set(receipts)) == 4


async def test_a_lane_whose_lease_ran_out_takes_the_newcomers_along(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, key="a"))
    await take_one(backend)
    await put(backend, job(2, key="a"))
    clock.advance(LEASE)
    again = await take_one(backend)
    assert (numbers(again), attempts(again)) == ([1, 2], [2, 1])


async def test_extend_renews_the_lease_from_now(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job())
    claim = await take_one(backend, lease=30.0)
    clock.advance(20.0)
    assert await backend.extend([claim], lease=30.0) == []
    clock.advance(29.999)
    assert await take(backend) == []
    clock.advance(0.001)
    assert len(await take(backend)) == 1


async def test_extend_names_exactly_the_lost_claims(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, key="a"), job(2, key="b"))
    lost = await take(backend, 2, lease=10.0)
    clock.advance(10.0)
    await take(backend, 2)
    await put(backend, job(3, key="c"))
    [kept] = await take(backend)
    assert await backend.extend([lost[0], kept, lost[1]], lease=LEASE) == lost


async def test_extend_of_no_claims_is_nothing(backend: Backend) -> None:
    assert await backend.extend([], lease=LEASE) == []


async def test_extend_charges_nothing(backend: Backend) -> None:
    [job_id] = await put(backend, job())
    await backend.extend([await take_one(backend)], lease=LEASE)
    assert (await record(backend, job_id)).attempt == 1


# The receipt is what counts, not the hour: until somebody else claims the lane, its last holder may still finish.


async def test_a_late_extend_holds_a_lane_that_nobody_took(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job())
    claim = await take_one(backend)
    clock.advance(LEASE + 5.0)
    assert await backend.extend([claim], lease=LEASE) == []
    assert await take(backend) == []


async def test_a_late_ack_counts_when_nobody_took_the_lane(backend: Backend, clock: ManualClock) -> None:
    [job_id] = await put(backend, job())
    claim = await take_one(backend)
    clock.advance(LEASE + 5.0)
    await backend.ack(claim)
    assert (await record(backend, job_id)).state is State.DONE
    assert await take(backend) == []


# --- fencing ---------------------------------------------------------------------------------------------------------

Verb = Callable[[Backend, Claim], Awaitable[object]]
VERBS: dict[str, Verb] = {
    "ack": lambda backend, claim: backend.ack(claim),
    "ack of some": lambda backend, claim: backend.ack(claim, claim.jobs[:1]),
    "ack of none": lambda backend, claim: backend.ack(claim, []),
    "nack": lambda backend, claim: backend.nack(claim, delay=60.0),
    "charged nack": lambda backend, claim: backend.nack(claim, delay=0.0, charged=claim.jobs, error="late"),
    "bury": lambda backend, claim: backend.bury(claim, claim.jobs, error="late"),
    "absorb": lambda backend, claim: backend.absorb(claim),
}


@pytest.fixture(params=list(VERBS))
def verb(request: pytest.FixtureRequest) -> Verb:
    return VERBS[str(request.param)]


async def expect_lost(backend: Backend, verb: Verb, claim: Claim) -> None:
    """The verb raises LeaseLost, extend hands the claim back, and nothing at all changes."""
    before = await everything(backend)
    with pytest.raises(LeaseLost):
        await verb(backend, claim)
    assert await backend.extend([claim], lease=600.0) == [claim]
    assert await everything(backend) == before


async def test_a_late_worker_leaves_the_new_holder_alone(
    backend: Backend, open_backend: OpenBackend, clock: ManualClock, verb: Verb
) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    late = await take_one(backend, worker="late")
    clock.advance(LEASE)
    holder = await take_one((await open_backend()).backend, worker="new")
    await put(backend, job(3, key="a"))
    await expect_lost(backend, verb, late)
    await backend.ack(holder)
    assert numbers(await take_one(backend)) == [3]


async def test_claiming_a_lane_again_does_not_revive_the_workers_old_receipt(
    backend: Backend, clock: ManualClock, verb: Verb
) -> None:
    await put(backend, job(1, key="a"))
    late = await take_one(backend)
    clock.advance(LEASE)
    await take_one(backend)
    await expect_lost(backend, verb, late)


async def test_a_receipt_ends_with_the_ack(backend: Backend, verb: Verb) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await put(backend, job(2, key="a"))
    await backend.ack(claim)
    await expect_lost(backend, verb, claim)
    assert numbers(await take_one(backend)) == [2]


async def test_a_receipt_ends_with_the_nack(backend: Backend, verb: Verb) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await backend.nack(claim, delay=0.0, charged=claim.jobs)
    await expect_lost(backend, verb, claim)
    assert attempts(await take_one(backend)) == [2]


async def test_a_receipt_ends_with_the_burial_of_all(backend: Backend, verb: Verb) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await backend.bury(claim, claim.jobs, error="no")
    await expect_lost(backend, verb, claim)


async def test_an_old_receipt_does_not_open_a_lane_that_was_built_anew(backend: Backend, verb: Verb) -> None:
    await put(backend, job(1, key="a"))
    old = await take_one(backend)
    await backend.ack(old)
    await put(backend, job(2, key="a"))
    await take_one(backend)
    await expect_lost(backend, verb, old)


async def test_a_receipt_of_another_lane_opens_nothing(backend: Backend, verb: Verb) -> None:
    await put(backend, job(1, key="a"), job(2, key="b"))
    one, other = await take(backend)
    await expect_lost(backend, verb, Claim(one.lane, other.receipt, one.jobs))


async def test_of_two_racing_acks_one_wins(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    results = await asyncio.gather(*[backend.ack(claim) for _ in range(4)], return_exceptions=True)
    assert sorted(type(each).__name__ for each in results) == ["LeaseLost"] * 3 + ["NoneType"]


def note(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE note (text TEXT)")


def notes(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'note'").fetchone()[0])


async def test_a_live_fence_lets_a_write_through(store: Opened) -> None:
    await put(store.backend, job())
    fence = store.backend.fence(await take_one(store.backend))

    def unit(connection: sqlite3.Connection) -> None:
        fence.check(connection)
        note(connection)

    await store.database.write(unit)
    assert await store.database.read(notes) == 1


async def test_a_stale_fence_undoes_the_write_it_stands_in(store: Opened, clock: ManualClock) -> None:
    await put(store.backend, job())
    fence = store.backend.fence(await take_one(store.backend))
    clock.advance(LEASE)
    await take_one(store.backend)

    def unit(connection: sqlite3.Connection) -> None:
        note(connection)
        fence.check(connection)

    with pytest.raises(LeaseLost):
        await store.database.write(unit)
    assert await store.database.read(notes) == 0


async def test_a_fence_closes_when_its_claim_ends(store: Opened) -> None:
    await put(store.backend, job())
    claim = await take_one(store.backend)
    await store.backend.ack(claim)
    with pytest.raises(LeaseLost):
        await store.database.write(store.backend.fence(claim).check)


async def test_a_fence_stays_open_while_some_jobs_of_the_claim_are_left(store: Opened) -> None:
    await put(store.backend, job(1, key="a"), job(2, key="a"))
    claim = await take_one(store.backend)
    await store.backend.ack(claim, claim.jobs[:1])
    await store.database.write(store.backend.fence(claim).check)


async def test_a_fence_sees_no_newer_job_in_the_claim_itself(store: Opened) -> None:
    await put(store.backend, job(1, key="a"), job(2, key="a"), job(3, key="b"))
    claims = await take(store.backend)
    assert [await store.database.write(store.backend.fence(claim).has_newer) for claim in claims] == [False, False]


@pytest.mark.parametrize(("kind", "seen"), [("reply", True), ("send", False)])
async def test_a_fence_sees_the_newer_jobs_that_the_claim_could_absorb(store: Opened, kind: str, seen: bool) -> None:
    await put(store.backend, job(1, key="a"))
    fence = store.backend.fence(await take_one(store.backend))
    await put(store.backend, job(2, key="a", kind=kind))
    assert await store.database.write(fence.has_newer) is seen


async def test_a_fence_sees_nothing_that_a_claim_alone_could_not_absorb(store: Opened) -> None:
    await put(store.backend, job(1, key="a"), job(2, key="a"))
    await fail(store.backend, 2)
    fence = store.backend.fence(await take_one(store.backend))
    assert await store.database.write(fence.has_newer) is False


async def test_a_fence_sees_nothing_newer_once_it_is_absorbed(store: Opened) -> None:
    await put(store.backend, job(1, key="a"))
    claim = await take_one(store.backend)
    await put(store.backend, job(2, key="a"))
    fence = store.backend.fence(await store.backend.absorb(claim))
    assert await store.database.write(fence.has_newer) is False


async def test_a_fence_does_not_count_cancelled_jobs_as_newer(store: Opened) -> None:
    await put(store.backend, job(1, key="a"))
    fence = store.backend.fence(await take_one(store.backend))
    [newer] = await put(store.backend, job(2, key="a"))
    await store.backend.cancel(JobFilter(ids=(newer,)))
    assert await store.database.write(fence.has_newer) is False


async def test_a_fence_does_not_count_other_lanes_as_newer(store: Opened) -> None:
    await put(store.backend, job(1, key="a"))
    fence = store.backend.fence(await take_one(store.backend))
    await put(store.backend, job(2, key="b"), job(3))
    assert await store.database.write(fence.has_newer) is False


# --- ack -------------------------------------------------------------------------------------------------------------


async def test_ack_finishes_all_jobs_of_the_claim(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    claim = await take_one(backend)
    clock.advance(2.0)
    await backend.ack(claim)
    assert {(each.state, each.finished_at) for each in await everything(backend)} == {(State.DONE, clock.now())}
    clock.advance(DAY)
    assert await take(backend) == []


async def test_ack_of_some_keeps_the_claim(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    claim = await take_one(backend)
    await backend.ack(claim, claim.jobs[:1])
    assert await take(backend) == []
    assert await backend.extend([claim], lease=LEASE) == []
    assert [each.state for each in await everything(backend)] == [State.READY, State.DONE]


async def test_ack_of_the_last_one_ends_the_claim(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    claim = await take_one(backend)
    await put(backend, job(3, key="a"))
    for each in claim.jobs:
        await backend.ack(claim, [each])
    with pytest.raises(LeaseLost):
        await backend.ack(claim)
    assert numbers(await take_one(backend)) == [3]


async def test_ack_of_none_finishes_nothing(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await backend.ack(claim, [])
    assert [each.state for each in await everything(backend)] == [State.READY]
    assert await backend.extend([claim], lease=LEASE) == []


async def test_ack_of_all_after_ack_of_some_ends_the_claim(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    claim = await take_one(backend)
    await backend.ack(claim, claim.jobs[1:])
    first_end = clock.now()
    clock.advance(3.0)
    await backend.ack(claim)
    assert [each.finished_at for each in await everything(backend)] == [first_end, clock.now()]
    assert await take(backend) == []


async def test_ack_of_all_leaves_a_buried_job_buried(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    claim = await take_one(backend)
    await backend.bury(claim, claim.jobs[:1], error="no")
    await backend.ack(claim)
    assert [each.state for each in await everything(backend)] == [State.DONE, State.DEAD]


async def test_what_was_acked_does_not_come_back_after_the_lease(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"), job(3, key="a"))
    claim = await take_one(backend)
    await backend.ack(claim, claim.jobs[:2])
    clock.advance(LEASE)
    assert numbers(await take_one(backend)) == [3]


# --- nack ------------------------------------------------------------------------------------------------------------


async def test_nack_holds_the_whole_lane_for_its_delay(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, key="a"))
    await backend.nack(await take_one(backend), delay=10.0)
    await put(backend, job(2, key="a"))
    clock.advance(9.999)
    assert await take(backend) == []
    clock.advance(0.001)
    assert numbers(await take_one(backend)) == [1, 2]


async def test_nack_holds_no_other_lane(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="b"))
    for claim in await take(backend):
        await backend.nack(claim, delay=60.0 if claim.lane == "a" else 0.0)
    assert (await take_one(backend)).lane == "b"


async def test_nack_without_delay_makes_the_lane_due_at_once(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    await backend.nack(await take_one(backend, lease=3600.0), delay=0.0)
    assert numbers(await take_one(backend)) == [1]


async def test_nack_puts_the_jobs_back_at_the_front(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    claim = await take_one(backend)
    await put(backend, job(3, key="a", kind="send"))
    await backend.nack(claim, delay=0.0, charged=claim.jobs)
    assert await takes_to_the_end(backend) == [1, 2, 3]


async def test_nack_gives_back_only_what_is_unfinished(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"), job(3, key="a"))
    claim = await take_one(backend)
    await backend.ack(claim, claim.jobs[:1])
    await backend.bury(claim, claim.jobs[1:2], error="no")
    await backend.nack(claim, delay=0.0, charged=claim.jobs)
    assert numbers(await take_one(backend)) == [3]
    assert [each.state for each in await everything(backend)] == [State.READY, State.DEAD, State.DONE]


async def test_nack_refunds_no_finished_job(backend: Backend) -> None:
    [done, _] = await put(backend, job(1, key="a"), job(2, key="a"))
    claim = await take_one(backend)
    await backend.ack(claim, claim.jobs[:1])
    await backend.nack(claim, delay=0.0)
    assert (await record(backend, done)).attempt == 1


async def test_nack_leaves_the_attempts_of_jobs_behind_the_claim(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    [behind] = await put(backend, job(2, key="a"))
    await backend.nack(claim, delay=0.0)
    assert (await record(backend, behind)).attempt == 0


async def test_nack_records_its_error(backend: Backend) -> None:
    [job_id] = await put(backend, job())
    claim = await take_one(backend)
    await backend.nack(claim, delay=5.0, charged=claim.jobs, error="boom: ünï 100 %")
    got = await record(backend, job_id)
    assert (got.error, got.state, got.running) == ("boom: ünï 100 %", State.READY, False)


# --- bury ------------------------------------------------------------------------------------------------------------


async def test_a_buried_job_is_dead_with_its_error(backend: Backend, clock: ManualClock) -> None:
    [job_id] = await put(backend, job(key="a"))
    claim = await take_one(backend)
    clock.advance(1.0)
    await backend.bury(claim, claim.jobs, error="cannot")
    got = await record(backend, job_id)
    assert (got.state, got.error, got.finished_at, got.due_at) == (State.DEAD, "cannot", clock.now(), None)
    clock.advance(DAY)
    assert await take(backend) == []


async def test_the_lane_goes_on_after_a_burial(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await put(backend, job(2, key="a"))
    await backend.bury(claim, claim.jobs, error="cannot")
    assert numbers(await take_one(backend)) == [2]


async def test_burial_of_some_keeps_the_claim(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    claim = await take_one(backend)
    await backend.bury(claim, claim.jobs[:1], error="cannot")
    assert await take(backend) == []
    await backend.ack(claim, claim.jobs[1:])
    assert [each.state for each in await everything(backend)] == [State.DONE, State.DEAD]


async def test_burial_of_none_buries_nothing(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await backend.bury(claim, [], error="cannot")
    assert [each.state for each in await everything(backend)] == [State.READY]
    assert await backend.extend([claim], lease=LEASE) == []


# --- absorb ----------------------------------------------------------------------------------------------------------


async def test_absorb_takes_the_newer_jobs_and_charges_them(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await put(backend, job(2, key="a"), job(3, key="a"))
    more = await backend.absorb(claim)
    assert (more.lane, more.receipt) == (claim.lane, claim.receipt)
    assert (numbers(more), attempts(more)) == ([1, 2, 3], [1, 1, 1])
    assert [each.attempt for each in await everything(backend)] == [1, 1, 1]


async def test_absorb_stops_at_another_kind(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await put(backend, job(2, key="a"), job(3, key="a", kind="send"), job(4, key="a"))
    assert numbers(await backend.absorb(claim)) == [1, 2]
    assert [each.attempt for each in await everything(backend)] == [0, 0, 1, 1]


async def test_absorb_does_not_reach_past_another_kind(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a", kind="send"), job(3, key="a"))
    claim = await take_one(backend)
    assert await backend.absorb(claim) == claim


async def test_absorb_of_nothing_new_changes_nothing(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    before = await everything(backend)
    assert await backend.absorb(claim) == claim
    assert await backend.absorb(claim) == claim
    assert await everything(backend) == before


async def test_absorb_again_with_the_first_claim_charges_no_second_time(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await put(backend, job(2, key="a"))
    first = await backend.absorb(claim)
    assert await backend.absorb(claim) == first
    assert [each.attempt for each in await everything(backend)] == [1, 1]


async def test_absorb_takes_no_jobs_of_other_lanes(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await put(backend, job(2, key="b"), job(3))
    assert await backend.absorb(claim) == claim


async def test_absorb_goes_on_after_a_part_was_acked(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    claim = await take_one(backend)
    await backend.ack(claim, claim.jobs[:1])
    await put(backend, job(3, key="a"))
    more = await backend.absorb(claim)
    assert numbers(more)[-2:] == [2, 3]
    await backend.ack(more)
    assert {each.state for each in await everything(backend)} == {State.DONE}


async def test_absorb_keeps_the_lease_as_it_was(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    clock.advance(20.0)
    await put(backend, job(2, key="a"))
    await backend.absorb(claim)
    clock.advance(10.0)
    assert numbers(await take_one(backend)) == [1, 2]


async def test_absorbed_jobs_end_with_the_claim(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await put(backend, job(2, key="a"))
    more = await backend.absorb(claim)
    await backend.ack(more, more.jobs[:1])
    assert await take(backend) == []
    await backend.ack(more, more.jobs[1:])
    assert {each.state for each in await everything(backend)} == {State.DONE}


async def test_absorbed_jobs_get_their_attempt_back_with_a_snooze(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    claim = await take_one(backend)
    await put(backend, job(2, key="a"))
    await backend.nack(await backend.absorb(claim), delay=0.0)
    assert attempts(await take_one(backend)) == [1, 1]


async def test_a_job_claimed_alone_absorbs_no_neighbour(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    await fail(backend, 2)
    claim = await take_one(backend)
    await put(backend, job(2, key="a"))
    assert await backend.absorb(claim) == claim


async def test_a_job_that_must_run_alone_is_not_absorbed(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    for _ in range(2):
        claim = await take_one(backend)
        await backend.nack(claim, delay=0.0, charged=claim.jobs[1:])
    claim = await take_one(backend)
    assert numbers(claim) == [1]
    assert await backend.absorb(claim) == claim


# --- stats -----------------------------------------------------------------------------------------------------------


async def test_stats_of_an_empty_queue_are_empty(backend: Backend) -> None:
    assert await of_kind(backend) == KindStats()


async def test_stats_count_each_kind_by_where_its_jobs_stand(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="b"), job(3, key="c"), job(4, key="c"))
    for claim in await take(backend):
        if claim.lane == "a":
            await backend.bury(claim, claim.jobs, error="no")
        elif claim.lane == "b":
            await backend.nack(claim, delay=60.0)
    await put(backend, job(5), job(6, delay=60.0), job(7, kind="send"))
    assert await of_kind(backend) == KindStats(ready=1, scheduled=2, running=2, dead=1)
    assert await of_kind(backend, "send") == KindStats(ready=1)


async def test_jobs_behind_a_live_claim_are_ready_and_not_running(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    await take_one(backend)
    await put(backend, job(2, key="a"))
    got = await of_kind(backend)
    assert (got.ready, got.scheduled, got.running) == (1, 0, 1)


async def test_a_kind_that_only_waits_behind_a_claim_of_another_is_counted(
    backend: Backend, clock: ManualClock
) -> None:
    await put(backend, job(1, key="a"), job(2, key="a", kind="send"))
    await take_one(backend)
    clock.advance(4.0)
    got = await of_kind(backend, "send")
    assert (got.ready, got.scheduled, got.running, got.dead) == (1, 0, 0, 0)


async def test_a_job_that_was_left_out_of_a_claim_is_not_running(backend: Backend) -> None:
    _, left_out = await put(backend, job(1, key="a"), job(2, key="a"))
    await fail(backend, 2)
    assert numbers(await take_one(backend)) == [1]
    assert (await record(backend, left_out)).running is False
    assert (await of_kind(backend)).running == 1


async def test_a_job_whose_lease_ran_out_is_ready_and_not_running(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job())
    await take_one(backend)
    clock.advance(LEASE)
    got = await of_kind(backend)
    assert (got.ready, got.running) == (1, 0)


async def test_a_delayed_job_is_ready_once_its_time_has_come(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(delay=10.0))
    assert await of_kind(backend) == KindStats(scheduled=1)
    clock.advance(10.0)
    assert await of_kind(backend) == KindStats(ready=1)


async def test_done_and_cancelled_jobs_are_in_no_number(backend: Backend) -> None:
    await put(backend, job(1))
    await takes_to_the_end(backend)
    await put(backend, job(2))
    await backend.cancel(EVERYTHING)
    assert await of_kind(backend) == KindStats()


async def test_the_oldest_wait_is_that_of_the_longest_due_job(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1))
    clock.advance(7.5)
    await put(backend, job(2))
    clock.advance(5.0)
    assert (await of_kind(backend)).oldest_wait == pytest.approx(12.5)


async def test_time_spent_delayed_is_no_wait(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(delay=100.0))
    clock.advance(99.0)
    assert (await of_kind(backend)).oldest_wait == 0.0
    clock.advance(51.0)
    assert (await of_kind(backend)).oldest_wait == pytest.approx(50.0)


async def test_a_running_job_waits_no_more(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job())
    clock.advance(5.0)
    await take_one(backend)
    assert (await of_kind(backend)).oldest_wait == 0.0


# --- what operators see ----------------------------------------------------------------------------------------------


async def test_a_record_tells_a_waiting_job_whole(backend: Backend, clock: ManualClock) -> None:
    [job_id] = await put(backend, job(1, key="a", dedup="k", priority=PEOPLE, max_attempts=4))
    assert await record(backend, job_id) == JobRecord(
        id=job_id,
        lane="a",
        kind="reply",
        payload='{"n": 1}',
        state=State.READY,
        attempt=0,
        max_attempts=4,
        priority=PEOPLE,
        enqueued_at=clock.now(),
        claimed_at=None,
        finished_at=None,
        due_at=clock.now(),
        running=False,
        worker=None,
        error=None,
        dedup_key="k",
    )


async def test_a_record_tells_why_its_lane_waits_until_the_next_claim(backend: Backend, clock: ManualClock) -> None:
    [job_id] = await put(backend, job(1, key="a"))
    [claim] = await take(backend)
    await backend.nack(claim, delay=30.0, reason="the model is down")
    waiting = await backend.get(job_id)
    clock.advance(30.0)
    await take(backend)
    claimed = await backend.get(job_id)
    assert waiting is not None
    assert claimed is not None
    assert (waiting.reason, claimed.reason) == ("the model is down", None)


async def test_a_record_tells_who_runs_a_job_since_when(backend: Backend, clock: ManualClock) -> None:
    [job_id] = await put(backend, job())
    clock.advance(3.0)
    await take_one(backend, worker="worker-7")
    got = await record(backend, job_id)
    assert (got.running, got.worker, got.claimed_at, got.state) == (True, "worker-7", clock.now(), State.READY)


async def test_a_record_tells_when_a_delayed_job_is_due(backend: Backend, clock: ManualClock) -> None:
    [job_id] = await put(backend, job(delay=12.5))
    assert (await record(backend, job_id)).due_at == clock.now() + 12_500


async def test_a_record_of_a_finished_job_is_due_no_more(backend: Backend) -> None:
    [job_id] = await put(backend, job())
    await takes_to_the_end(backend)
    got = await record(backend, job_id)
    assert (got.due_at, got.running, got.attempt) == (None, False, 1)


@pytest.mark.parametrize("job_id", ["", "nope", "0", "-1", "²", "9" * 40, "1.0", "' OR 1=1", "\u0000"])
async def test_an_id_that_no_job_has_finds_nothing(backend: Backend, job_id: str) -> None:
    await put(backend, job())
    assert await backend.get(job_id) is None
    assert await backend.list(JobFilter(ids=(job_id,))) == []
    assert await backend.cancel(JobFilter(ids=(job_id,))) == 0


async def test_list_is_newest_first(backend: Backend) -> None:
    ids = await put(backend, *[job(n) for n in range(4)])
    assert [each.id for each in await backend.list(EVERYTHING)] == ids[::-1]


async def test_list_pages_without_gap_or_overlap(backend: Backend) -> None:
    ids = await put(backend, *[job(n) for n in range(7)])
    pages: list[list[str]] = []
    last: str | None = None
    while page := await backend.list(EVERYTHING, limit=3, before=last):
        pages.append([each.id for each in page])
        last = page[-1].id
        await put(backend, job(99))  # what arrives meanwhile shifts no later page
    assert pages == [ids[6:3:-1], ids[3:0:-1], ids[0:1]]


async def test_list_without_a_limit_shows_fifty(backend: Backend) -> None:
    await put(backend, *[job(n) for n in range(60)])
    assert len(await backend.list(EVERYTHING)) == 50


async def mixed(backend: Backend) -> dict[str, str]:
    """One job of each sort, by name."""
    dead, done = await put(backend, job(1, key="a"), job(2, key="b", kind="send"))
    for claim in await take(backend):
        if claim.kind == "reply":
            await backend.bury(claim, claim.jobs, error="error 100% _sure_")
        else:
            await backend.ack(claim)
    cancelled, ready = await put(backend, job(3, key="a"), job(44, key="a", kind="send"))
    await backend.cancel(JobFilter(ids=(cancelled,)))
    return {dead: "dead", done: "done", cancelled: "cancelled", ready: "ready"}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (JobFilter(), {"dead", "done", "cancelled", "ready"}),
        (JobFilter(kinds=("send",)), {"done", "ready"}),
        (JobFilter(kinds=("send", "reply")), {"dead", "done", "cancelled", "ready"}),
        (JobFilter(kinds=("unknown",)), set()),
        (JobFilter(kinds=()), set()),
        (JobFilter(ids=()), set()),
        (JobFilter(states=()), set()),
        (JobFilter(states=(State.DEAD,)), {"dead"}),
        (JobFilter(states=(State.DONE, State.CANCELLED)), {"done", "cancelled"}),
        (JobFilter(lane="a"), {"dead", "cancelled", "ready"}),
        (JobFilter(lane="nowhere"), set()),
        (JobFilter(lane="a", kinds=("send",)), {"ready"}),
        (JobFilter(text="44"), {"ready"}),
        (JobFilter(text="100% _sure"), {"dead"}),
        (JobFilter(text="%"), {"dead"}),
        (JobFilter(text="'"), set()),
        (JobFilter(text="4_"), set()),
        (JobFilter(states=(State.READY,), text="error"), set()),
    ],
    ids=str,
)
async def test_every_given_condition_of_a_filter_holds(backend: Backend, where: JobFilter, expected: set[str]) -> None:
    names = await mixed(backend)
    assert {names[each.id] for each in await backend.list(where)} == expected
    assert await backend.count(where) == len(expected)


async def test_a_filter_of_ids_finds_just_them(backend: Backend) -> None:
    ids = await put(backend, *[job(n) for n in range(4)])
    assert [each.id for each in await backend.list(JobFilter(ids=(ids[0], ids[2], "nope")))] == [ids[2], ids[0]]


async def test_count_is_not_limited_to_a_page(backend: Backend) -> None:
    await put(backend, *[job(n) for n in range(60)])
    assert await backend.count(EVERYTHING) == 60


# --- retry, cancel, discard, prune -----------------------------------------------------------------------------------


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


# --- waiting ---------------------------------------------------------------------------------------------------------


async def test_a_waiting_worker_is_woken_by_another_backends_enqueue(open_backend: OpenBackend) -> None:
    worker, producer = (await open_backend()).backend, (await open_backend()).backend
    await worker.register("w")
    waiting = asyncio.create_task(worker.wait(LONG))
    await asyncio.sleep(0)
    await put(producer, job())
    async with asyncio.timeout(PROMPTLY):
        await waiting
    assert len(await take(worker)) == 1


async def test_a_waiting_worker_is_woken_by_its_own_processes_enqueue(backend: Backend) -> None:
    await backend.register("w")
    waiting = asyncio.create_task(backend.wait(LONG))
    await asyncio.sleep(0)
    await put(backend, job())
    async with asyncio.timeout(PROMPTLY):
        await waiting


async def test_work_that_came_between_claim_and_wait_ends_the_wait(open_backend: OpenBackend) -> None:
    worker, producer = (await open_backend()).backend, (await open_backend()).backend
    await worker.register("w")
    assert await take(worker) == []
    await put(producer, job())
    async with asyncio.timeout(PROMPTLY):
        await worker.wait(LONG)


async def test_a_worker_is_woken_by_the_event_and_not_by_a_slow_poll(open_backend: OpenBackend) -> None:
    worker, producer = (await open_backend()).backend, (await open_backend()).backend
    await worker.register("w")
    async with asyncio.timeout(PROMPTLY / 2):
        for n in range(15):
            waiting = asyncio.create_task(worker.wait(LONG))
            await asyncio.sleep(0)
            await put(producer, job(n))
            await waiting
            await worker.ack(await take_one(worker))


async def test_every_waiting_worker_is_woken(open_backend: OpenBackend) -> None:
    workers = [(await open_backend()).backend for _ in range(3)]
    for n, worker in enumerate(workers):
        await worker.register(f"w{n}")
    waiting = [asyncio.create_task(worker.wait(LONG)) for worker in workers]
    await asyncio.sleep(0)
    await put((await open_backend()).backend, job())
    async with asyncio.timeout(PROMPTLY):
        await asyncio.gather(*waiting)


async def test_a_wait_ends_when_a_delayed_job_is_due(open_backend: OpenBackend) -> None:
    # Longer than a look that a poll would have made anyway, so that only a timer can end the second wait.
    backend = (await open_backend(WallClock())).backend
    await backend.register("w")
    await put(backend, job(delay=0.8))
    async with asyncio.timeout(PROMPTLY):
        while not await take(backend):
            await backend.wait(LONG)


async def test_a_wait_ends_when_somebodys_lease_runs_out(open_backend: OpenBackend) -> None:
    holder, heir = (await open_backend(WallClock())).backend, (await open_backend(WallClock())).backend
    await heir.register("heir")
    await put(holder, job())
    await take_one(holder, lease=0.8)
    async with asyncio.timeout(PROMPTLY):
        while not await take(heir):
            await heir.wait(LONG)


async def test_a_wait_ends_when_a_lane_goes_on(open_backend: OpenBackend) -> None:
    holder, idle = (await open_backend()).backend, (await open_backend()).backend
    await idle.register("idle")
    await put(holder, job(1, key="a"))
    claim = await take_one(holder, lease=3600.0)
    await put(holder, job(2, key="a"))

    async def take_the_next() -> list[Claim]:
        while not (claims := await take(idle)):
            await idle.wait(LONG)
        return claims

    waiting = asyncio.create_task(take_the_next())
    await asyncio.sleep(0)
    await holder.ack(claim)
    async with asyncio.timeout(PROMPTLY):
        assert [numbers(each) for each in await waiting] == [[2]]


async def test_a_wait_for_nothing_ends_with_its_timeout_and_not_before(backend: Backend) -> None:
    await backend.register("w")
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with asyncio.timeout(PROMPTLY):
        for _ in range(3):
            await backend.wait(0.15)
    # One of them may end early on a stale hint; a worker whose waits all do would spin.
    assert loop.time() - started >= 0.29


async def test_a_cancelled_wait_leaves_the_next_one_whole(backend: Backend) -> None:
    await backend.register("w")
    waiting = asyncio.create_task(backend.wait(LONG))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    again = asyncio.create_task(backend.wait(LONG))
    await asyncio.sleep(0)
    await put(backend, job())
    async with asyncio.timeout(PROMPTLY):
        await again


async def test_an_empty_queue_is_due_never(backend: Backend) -> None:
    assert await backend.next_due() is None
    await put(backend, job())
    await takes_to_the_end(backend)
    assert await backend.next_due() is None


async def test_waiting_work_is_due_now(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, delay=60.0), job(2, priority=UPKEEP))
    clock.advance(5.0)
    assert await backend.next_due() == 0.0


async def test_the_next_due_lane_is_the_soonest_of_all_priorities(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job(1, delay=60.0, priority=PEOPLE), job(2, delay=20.0, priority=UPKEEP), job(3, delay=40.0))
    clock.advance(5.0)
    assert await backend.next_due() == pytest.approx(15.0)


async def test_a_live_lease_counts_until_it_runs_out(backend: Backend, clock: ManualClock) -> None:
    await put(backend, job())
    await take_one(backend, lease=30.0)
    clock.advance(10.0)
    assert await backend.next_due() == pytest.approx(20.0)
    clock.advance(25.0)
    assert await backend.next_due() == 0.0


async def test_a_backoff_counts_until_it_ends(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    await backend.nack(await take_one(backend), delay=12.0)
    assert await backend.next_due() == pytest.approx(12.0)


async def test_cancelled_work_is_due_never(backend: Backend) -> None:
    await put(backend, job(delay=60.0))
    await backend.cancel(EVERYTHING)
    assert await backend.next_due() is None


# --- recovery --------------------------------------------------------------------------------------------------------


async def test_claims_of_a_killed_worker_are_recovered_at_once(
    backend: Backend, start_child: StartChild, clock: ManualClock
) -> None:
    await backend.register("survivor")
    await put(backend, job(1, key="a"), job(2, key="a"), job(3, key="b"))
    child = await start_child("claim")
    assert child.said == "2"
    assert await take(backend) == []
    await child.kill()
    assert await backend.recover() == 2
    claims = {claim.lane: claim for claim in await take(backend)}
    assert (numbers(claims["a"]), attempts(claims["a"])) == ([1, 2], [2, 2])
    assert (numbers(claims["b"]), attempts(claims["b"])) == ([3], [2])


async def test_a_recovered_claim_is_recovered_once(backend: Backend, start_child: StartChild) -> None:
    await backend.register("survivor")
    await put(backend, job(1))
    await (await start_child("claim")).kill()
    assert await backend.recover() == 1
    assert await backend.recover() == 0
    await take_one(backend, worker="survivor")
    assert await backend.recover() == 0


async def test_a_live_workers_claims_are_not_touched(backend: Backend, start_child: StartChild) -> None:
    await put(backend, job(1))
    await start_child("claim")
    before = await everything(backend)
    assert await backend.recover() == 0
    assert await everything(backend) == before
    assert await take(backend) == []


async def test_a_live_worker_in_the_same_process_is_not_touched(open_backend: OpenBackend) -> None:
    worker, other = (await open_backend()).backend, (await open_backend()).backend
    await worker.register("w")
    await other.register("other")
    await put(worker, job(1))
    claim = await take_one(worker, worker="w")
    assert await other.recover() == 0
    assert await worker.recover() == 0
    await worker.ack(claim)


async def test_claims_of_a_closed_worker_are_recovered(open_backend: OpenBackend) -> None:
    worker, other = await open_backend(), (await open_backend()).backend
    await worker.backend.register("w")
    await put(other, job(1))
    await take_one(worker.backend, worker="w", lease=3600.0)
    await worker.close()
    await other.recover()
    assert attempts(await take_one(other)) == [2]


async def test_only_the_dead_workers_claims_are_recovered(backend: Backend, start_child: StartChild) -> None:
    await put(backend, job(1))
    doomed = await start_child("claim", "doomed")
    await put(backend, job(2))
    await start_child("claim", "alive")
    await doomed.kill()
    assert await backend.recover() == 1
    assert numbers(await take_one(backend)) == [1]


async def test_a_dead_workers_receipt_is_void_after_the_recovery(
    backend: Backend, open_backend: OpenBackend, verb: Verb
) -> None:
    worker = await open_backend()
    await worker.backend.register("w")
    await put(backend, job(1, key="a"))
    dead = await take_one(worker.backend, worker="w", lease=3600.0)
    await worker.close()
    await backend.recover()
    await take_one(backend)
    await expect_lost(backend, verb, dead)


# --- cancelled callers -----------------------------------------------------------------------------------------------


async def cut_short(work: Awaitable[object], chance: random.Random) -> bool:
    """Runs `work` and cancels it at a random moment; whether it came to its end before."""
    task = asyncio.ensure_future(work)
    if chance.random() < 0.5:
        for _ in range(chance.randrange(8)):
            await asyncio.sleep(0)
    else:
        await asyncio.sleep(chance.random() * 0.004)
    task.cancel()
    [result] = await asyncio.gather(task, return_exceptions=True)
    if isinstance(result, asyncio.CancelledError):
        return False
    assert not isinstance(result, BaseException), result
    return True


async def test_a_cancelled_enqueue_stores_all_or_nothing(backend: Backend) -> None:
    chance = random.Random(1)
    twins = [backend.enqueue([job(n, key="a"), job(n, key="b")], max_attempts=5) for n in range(60)]
    ended = [await cut_short(each, chance) for each in twins]
    await put(backend, job(1000, key="c"))
    stored = [json.loads(each.payload)["n"] for each in await everything(backend)]
    assert all(stored.count(n) in ((2,) if done else (0, 2)) for n, done in enumerate(ended))


async def test_a_cancelled_claim_charges_all_or_nothing_and_loses_nothing(backend: Backend, clock: ManualClock) -> None:
    chance = random.Random(2)
    await put(backend, *[job(n, key=f"lane-{n // 2}") for n in range(80)])
    for _ in range(40):
        await cut_short(take(backend, 3), chance)
    await put(backend, job(1000))
    clock.advance(LEASE)
    claims = [claim for claim in await take(backend) if claim.lane.startswith("lane-")]
    assert sorted(numbers(claim) for claim in claims) == [[n, n + 1] for n in range(0, 80, 2)]
    assert all(len(set(attempts(claim))) == 1 for claim in claims)


async def test_a_cancelled_ack_ends_all_or_nothing(backend: Backend) -> None:
    chance, ended = random.Random(3), {}
    await put(backend, *[job(n, key=f"lane-{n // 2}") for n in range(80)])
    claims = await take(backend)
    for claim in claims:
        ended[claim.lane] = await cut_short(backend.ack(claim), chance)
    await put(backend, job(1000))
    states: dict[str, list[State]] = {}
    for each in await everything(backend):
        states.setdefault(each.lane, []).append(each.state)
    for claim in claims:
        whole = [[State.DONE] * 2] if ended[claim.lane] else [[State.DONE] * 2, [State.READY] * 2]
        assert states[claim.lane] in whole
        if states[claim.lane] == [State.READY] * 2:
            await backend.ack(claim)


async def test_cancelled_callers_disturb_none_of_those_beside_them(backend: Backend) -> None:
    chance = random.Random(4)
    calls: list[Coroutine[Any, Any, object]] = []
    for n in range(60):
        work = backend.enqueue([job(n, key="a")], max_attempts=5)
        calls.append(cut_short(work, chance) if n % 2 else work)
    await asyncio.gather(*calls)
    stored = await takes_to_the_end(backend)
    assert set(range(0, 60, 2)) <= set(stored)
    assert len(stored) == len(set(stored))
