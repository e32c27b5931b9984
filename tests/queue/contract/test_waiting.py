"""A job joins the one of its waiting key that waits, and none runs that was to be begun before now."""

from __future__ import annotations

import pytest

from convoq.jobs import NewJob
from convoq.queue.base import Ending, Enqueued, JobFilter, JobState
from tests.clock import ManualClock
from tests.queue.conftest import Engine, Opened
from tests.queue.contract.steps import EVERYTHING, everything, job, numbers, put, record, take, take_one


def tick(
    n: int = 0, *, kind: str = "tick", key: str | None = None, dedup: str | None = None, within: float | None = None
) -> NewJob:
    return NewJob(
        kind=kind, payload=f'{{"n": {n}}}', ordering_key=key, dedup_key=dedup, waiting_key="t", start_within=within
    )


@pytest.mark.parametrize("key", [None, "lane"])
async def test_a_job_joins_the_one_of_its_waiting_key_that_waits_and_brings_it_its_payload(
    engine: Engine, key: str | None
) -> None:
    [first] = await put(engine, tick(1, key=key))
    assert await engine.enqueue([tick(2, kind="tock", key=key)], max_attempts=5) == [
        Enqueued(first, duplicate=False, joined=True)
    ]
    claim = await take_one(engine)
    assert (numbers(claim), claim.kind) == ([2], "tock")
    assert len(await everything(engine)) == 1


async def test_of_two_in_one_call_the_second_joins_the_first(engine: Engine) -> None:
    first, other, second = await engine.enqueue([tick(1), job(7), tick(2)], max_attempts=5)
    assert (second.job_id, second.joined, first.joined, other.joined) == (first.job_id, True, False, False)
    assert sorted(numbers(claim) for claim in await take(engine)) == [[2], [7]]


async def test_a_job_that_runs_is_not_joined(engine: Engine, clock: ManualClock) -> None:
    [running] = await put(engine, tick(1))
    await take_one(engine, lease=10)
    [waiting] = await put(engine, tick(2))
    clock.advance(11)  # its lease is over: it may run nevertheless
    [third] = await put(engine, tick(3))
    assert waiting != running
    assert third == waiting


async def test_a_job_that_waits_for_another_try_is_joined_and_stays_as_it_is(engine: Engine) -> None:
    [first] = await put(engine, tick(1))
    claim = await take_one(engine)
    await engine.nack(claim, delay=0, charged=claim.jobs, error="no")
    assert await put(engine, tick(2)) == [first]
    again = await take_one(engine)
    assert (numbers(again), again.jobs[0].attempt) == ([1], 2)


async def test_a_job_joins_the_one_that_no_worker_has_begun_before_the_one_that_waits_for_another_try(
    engine: Engine, clock: ManualClock
) -> None:
    await put(engine, tick(1, key="lane", within=60))
    claim = await take_one(engine)
    clock.advance(30)
    [unbegun] = await put(engine, tick(2, key="lane", within=60))
    await engine.nack(claim, delay=50, charged=claim.jobs, error="no")
    clock.advance(40)
    assert await put(engine, tick(3, key="lane", within=60)) == [unbegun]
    clock.advance(25)
    again = await take_one(engine)
    assert numbers(again) == [1]
    await engine.ack(again)
    following = await take_one(engine)
    assert (numbers(following), following.jobs[0].late) == ([3], False)


async def test_what_has_ended_is_not_joined(engine: Engine) -> None:
    [first] = await put(engine, tick(1))
    await engine.cancel(JobFilter(ids=(first,)))
    [second] = await put(engine, tick(2))
    await engine.ack(await take_one(engine))
    [third] = await put(engine, tick(3))
    assert len({first, second, third}) == 3


async def test_a_dedup_key_that_has_joined_a_job_is_never_taken_in_again(engine: Engine) -> None:
    [first] = await put(engine, tick(1, dedup="1"))
    assert await put(engine, tick(2, dedup="2")) == [first]
    await engine.ack(await take_one(engine))
    [after] = await put(engine, tick(3, dedup="3"))
    twins = await engine.enqueue([tick(1, dedup="1"), tick(2, dedup="2")], max_attempts=5)
    assert twins == [Enqueued(first, duplicate=True), Enqueued(first, duplicate=True)]
    assert numbers(await take_one(engine)) == [3]
    assert len(await everything(engine)) == 2
    assert after != first


async def test_an_id_that_was_meant_for_a_job_that_joined_another_is_not_lost(engine: Engine) -> None:
    [first] = await put(engine, tick(1, dedup="1"))
    await put(engine, tick(2, dedup="2"))
    [other] = await put(engine, job(9))
    assert (await engine.enqueue([tick(2, dedup="2")], max_attempts=5))[0].job_id == first != other


async def test_a_job_is_late_from_the_moment_on_by_which_it_was_to_be_begun(engine: Engine, clock: ManualClock) -> None:
    await put(engine, tick(within=60))
    clock.advance(60)
    claim = await take_one(engine)
    assert not claim.jobs[0].late
    await engine.nack(claim, delay=0)
    await engine.ack(await take_one(engine))
    await put(engine, tick(within=60))
    clock.advance(60.001)
    assert (await take_one(engine)).jobs[0].late


async def test_a_job_that_was_begun_in_time_is_not_late_when_it_is_tried_again(
    engine: Engine, clock: ManualClock
) -> None:
    await put(engine, tick(within=60))
    await engine.nack(await take_one(engine), delay=3600)
    clock.advance(3600)
    assert not (await take_one(engine)).jobs[0].late


@pytest.mark.parametrize("aside", [False, True])
async def test_a_job_that_goes_back_unrun_has_not_been_begun(engine: Engine, clock: ManualClock, aside: bool) -> None:
    await put(engine, tick(1, key="lane", within=60))
    await engine.nack(await take_one(engine), delay=30, aside=aside, unrun=True)
    await put(engine, tick(2, key="lane", within=60))
    clock.advance(61)
    claim = await take_one(engine)
    assert (numbers(claim), claim.jobs[0].late) == ([2], True)


async def test_a_job_that_was_begun_before_stays_begun_when_it_goes_back_unrun(
    engine: Engine, clock: ManualClock
) -> None:
    await put(engine, tick(within=60))
    await engine.nack(await take_one(engine), delay=0)
    await engine.nack(await take_one(engine), delay=0, unrun=True)
    clock.advance(61)
    assert not (await take_one(engine)).jobs[0].late


async def test_a_late_job_whose_worker_dies_before_it_is_skipped_is_still_late(
    engine: Engine, clock: ManualClock
) -> None:
    await put(engine, tick(within=60))
    clock.advance(61)
    await take_one(engine, lease=10)
    clock.advance(11)
    assert (await take_one(engine)).jobs[0].late


async def test_the_next_one_gives_the_job_that_waits_more_time(engine: Engine, clock: ManualClock) -> None:
    await put(engine, tick(1, within=60))
    clock.advance(50)
    await put(engine, tick(2, within=60))
    await put(engine, tick(3, within=1))
    clock.advance(59)
    assert not (await take_one(engine)).jobs[0].late


async def test_a_job_without_a_time_to_be_begun_by_is_given_none_and_takes_it_from_the_one_it_joins(
    engine: Engine, clock: ManualClock
) -> None:
    for first, second in ((60.0, None), (None, 60.0)):
        await put(engine, tick(1, within=first))
        await put(engine, tick(2, within=second))
        clock.advance(3600)
        claim = await take_one(engine)
        assert not claim.jobs[0].late
        await engine.ack(claim)


async def test_a_skipped_job_is_cancelled_with_the_reason_and_uncharged(store: Opened, clock: ManualClock) -> None:
    [job_id] = await put(store.engine, tick(within=60))
    clock.advance(61)
    claim = await take_one(store.engine)
    await store.engine.skip(claim, claim.jobs, reason="too late")
    got = await record(store.engine, job_id)
    assert (got.state, got.error, got.attempt) == (JobState.CANCELLED, "too late", 0)
    assert [(ending, [each.id for each in jobs]) for ending, jobs in store.settler.told] == [(Ending.SKIPPED, [job_id])]
    assert await take(store.engine) == []


async def test_a_skipped_job_that_is_retried_runs(engine: Engine, clock: ManualClock) -> None:
    await put(engine, tick(within=60))
    clock.advance(61)
    claim = await take_one(engine)
    await engine.skip(claim, claim.jobs, reason="too late")
    assert await engine.retry_dead(EVERYTHING) == 1
    assert not (await take_one(engine)).jobs[0].late


async def test_those_that_have_not_ended_are_found_by_their_waiting_key(engine: Engine) -> None:
    [running] = await put(engine, tick(1, key="lane"))
    await take_one(engine)
    [waiting] = await put(engine, tick(2, key="lane"))
    await put(engine, job(3))
    found = await engine.list(JobFilter(waiting_key="t"))
    assert [(each.id, each.running) for each in found] == [(waiting, False), (running, True)]


async def test_what_waits_for_the_one_before_it_is_no_job_that_no_worker_comes_for(
    engine: Engine, clock: ManualClock
) -> None:
    await put(engine, tick(1, key="lane"))
    claim = await take_one(engine, lease=600)
    await put(engine, tick(2, key="lane"))
    clock.advance(300)
    stats = (await engine.stats()).kinds["tick"]
    assert (stats.ready, stats.oldest_wait) == (1, 0.0)
    await engine.ack(claim)
    assert (await engine.stats()).kinds["tick"].oldest_wait == 300.0
