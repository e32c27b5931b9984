"""A dedup key stands for one job, whatever became of it, until its retention is over."""

from __future__ import annotations

import asyncio

from convoq.queue.base import Enqueued
from tests.clock import ManualClock
from tests.queue.conftest import Engine, OpenEngine
from tests.queue.contract.steps import (
    DAY,
    EVERYTHING,
    everything,
    job,
    numbers,
    put,
    take,
    take_one,
    takes_to_the_end,
)


async def enqueue_twin(engine: Engine, first: str) -> None:
    """A second job with the key "k" is reported as the first's duplicate and is not stored."""
    before = await everything(engine)
    assert await engine.enqueue([job(99, dedup="k")], max_attempts=5) == [Enqueued(first, duplicate=True)]
    assert await everything(engine) == before


async def test_a_key_twice_in_one_call_is_one_job(engine: Engine) -> None:
    first, second = await engine.enqueue([job(1, dedup="k"), job(2, dedup="k")], max_attempts=5)
    assert (first.duplicate, second) == (False, Enqueued(first.job_id, duplicate=True))
    assert await takes_to_the_end(engine) == [1]


async def test_a_key_in_a_later_call_is_a_duplicate(engine: Engine) -> None:
    [first] = await put(engine, job(dedup="k"))
    await enqueue_twin(engine, first)


async def test_a_key_is_a_duplicate_while_its_job_runs(engine: Engine) -> None:
    [first] = await put(engine, job(dedup="k"))
    await take_one(engine)
    await enqueue_twin(engine, first)


async def test_a_key_is_a_duplicate_after_its_job_is_done(engine: Engine) -> None:
    [first] = await put(engine, job(dedup="k"))
    await takes_to_the_end(engine)
    await enqueue_twin(engine, first)


async def test_a_key_is_a_duplicate_after_its_job_is_dead(engine: Engine) -> None:
    [first] = await put(engine, job(dedup="k"))
    claim = await take_one(engine)
    await engine.bury(claim, claim.jobs, error="no")
    await enqueue_twin(engine, first)


async def test_a_key_is_a_duplicate_after_its_job_is_cancelled(engine: Engine) -> None:
    [first] = await put(engine, job(dedup="k"))
    await engine.cancel(EVERYTHING)
    await enqueue_twin(engine, first)


async def test_a_key_is_a_duplicate_after_its_job_is_discarded(engine: Engine) -> None:
    [first] = await put(engine, job(dedup="k"))
    await takes_to_the_end(engine)
    assert await engine.discard(EVERYTHING) == 1
    await enqueue_twin(engine, first)


async def test_a_key_is_a_duplicate_after_its_job_is_pruned(engine: Engine, clock: ManualClock) -> None:
    [first] = await put(engine, job(dedup="k"))
    await takes_to_the_end(engine)
    clock.advance(8 * DAY)
    assert await engine.prune(older_than=7 * DAY) == 1
    await enqueue_twin(engine, first)


async def test_a_key_is_kept_for_weeks_while_pruning_goes_on(engine: Engine, clock: ManualClock) -> None:
    [first] = await put(engine, job(dedup="k"))
    await takes_to_the_end(engine)
    for _ in range(29):
        clock.advance(DAY)
        await engine.prune(older_than=DAY)
    await enqueue_twin(engine, first)


async def test_a_key_is_free_again_after_its_retention(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, dedup="k"))
    await takes_to_the_end(engine)
    clock.advance(31 * DAY)
    await engine.prune(older_than=DAY)
    [again] = await engine.enqueue([job(2, dedup="k")], max_attempts=5)
    assert again.duplicate is False
    assert await takes_to_the_end(engine) == [2]


async def test_a_key_is_a_duplicate_on_another_backend(engine: Engine, open_engine: OpenEngine) -> None:
    [first] = await put(engine, job(dedup="k"))
    await enqueue_twin((await open_engine()).engine, first)


async def test_a_key_is_a_duplicate_in_another_lane_and_kind(engine: Engine) -> None:
    [first] = await put(engine, job(1, key="a", dedup="k"))
    twin = job(2, kind="upkeep", key="b", dedup="k")
    assert await engine.enqueue([twin], max_attempts=5) == [Enqueued(first, duplicate=True)]


async def test_a_duplicate_does_not_hold_back_its_neighbours(engine: Engine) -> None:
    await put(engine, job(1, key="a", dedup="k"))
    results = await engine.enqueue([job(2, key="a"), job(3, key="a", dedup="k"), job(4, key="a")], max_attempts=5)
    assert [each.duplicate for each in results] == [False, True, False]
    assert numbers(await take_one(engine)) == [1, 2, 4]


async def test_a_duplicate_does_not_bring_a_delayed_job_forward(engine: Engine) -> None:
    [first] = await put(engine, job(dedup="k", delay=60.0))
    await enqueue_twin(engine, first)
    assert await take(engine) == []


async def test_racing_enqueues_of_one_key_store_one_job(engine: Engine, open_engine: OpenEngine) -> None:
    others = [engine, (await open_engine()).engine]
    racers = [others[n % 2].enqueue([job(n, dedup="k")], max_attempts=5) for n in range(20)]
    results = [result for [result] in await asyncio.gather(*racers)]
    assert sum(not each.duplicate for each in results) == 1
    assert len({each.job_id for each in results}) == 1
    assert len(await everything(engine)) == 1


async def test_keys_that_only_look_alike_are_different_jobs(engine: Engine) -> None:
    alike = ["1", "01", "1.0", " 1", "1 ", "١", "k", "K", "é", "e\u0301", "k\u0000a", "k\u0000b", "b'k'", "👋"]
    results = await engine.enqueue([job(n, dedup=key) for n, key in enumerate(alike)], max_attempts=5)
    assert [each.duplicate for each in results] == [False] * len(alike)
    again = await engine.enqueue([job(n, dedup=key) for n, key in enumerate(alike)], max_attempts=5)
    assert again == [Enqueued(each.job_id, duplicate=True) for each in results]
