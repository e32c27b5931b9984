"""Enqueue stores all jobs of a call or none, and they outlive the process that enqueued them."""

from __future__ import annotations

import asyncio
import json

import pytest

from convoq.errors import ConvoqError
from convoq.jobs import NewJob
from tests.clock import ManualClock
from tests.queue.conftest import Engine, OpenEngine, StartChild
from tests.queue.contract.steps import (
    everything,
    job,
    numbers,
    put,
    record,
    take,
    take_one,
)


async def test_enqueue_gives_one_result_per_job_in_order(engine: Engine) -> None:
    results = await engine.enqueue([job(n) for n in range(5)], max_attempts=5)
    assert [json.loads((await record(engine, each.job_id)).payload)["n"] for each in results] == [0, 1, 2, 3, 4]


async def test_a_new_job_is_no_duplicate(engine: Engine) -> None:
    results = await engine.enqueue([job(1), job(1), job(1, dedup="k")], max_attempts=5)
    assert [each.duplicate for each in results] == [False, False, False]
    assert len({each.job_id for each in results}) == 3


async def test_enqueue_of_no_jobs_is_nothing(engine: Engine) -> None:
    assert await engine.enqueue([], max_attempts=5) == []
    assert await take(engine) == []


async def test_an_enqueued_job_is_seen_by_another_backend(engine: Engine, open_engine: OpenEngine) -> None:
    await put(engine, job(7))
    assert numbers(await take_one((await open_engine()).engine)) == [7]


async def test_an_enqueued_job_outlives_the_kill_of_its_process(
    open_engine: OpenEngine, start_child: StartChild
) -> None:
    child = await start_child("enqueue")
    await child.kill()
    assert (await take_one((await open_engine()).engine)).jobs[0].id == child.said


async def test_a_job_comes_back_as_it_went_in(engine: Engine, clock: ManualClock) -> None:
    payload = json.dumps({"body": "Grüße 👋 \u0000 ' \" % \n", "n": 1}, ensure_ascii=False)
    [job_id] = await put(engine, NewJob(kind="send_message", payload=payload, max_attempts=3))
    [got] = (await take_one(engine)).jobs
    assert (got.id, got.kind, got.payload, got.attempt, got.max_attempts, got.enqueued_at) == (
        job_id,
        "send_message",
        payload,
        1,
        3,
        clock.now(),
    )


async def test_a_job_without_max_attempts_gets_the_callers_default(engine: Engine) -> None:
    await engine.enqueue([job()], max_attempts=9)
    assert (await take_one(engine)).jobs[0].max_attempts == 9


async def test_many_jobs_are_enqueued_all_or_none(engine: Engine) -> None:
    unwritable = NewJob(kind="reply", payload='"\ud800"')
    with pytest.raises((ValueError, ConvoqError)):
        await engine.enqueue([job(1, key="a", dedup="k"), unwritable, job(2)], max_attempts=5)
    assert await everything(engine) == []
    assert await take(engine) == []


async def test_a_failed_enqueue_leaves_no_dedup_key(engine: Engine) -> None:
    with pytest.raises((ValueError, ConvoqError)):
        await engine.enqueue([job(1, dedup="k"), NewJob(kind="reply", payload='"\ud800"')], max_attempts=5)
    assert [each.duplicate for each in await engine.enqueue([job(1, dedup="k")], max_attempts=5)] == [False]


async def test_a_failed_enqueue_fails_none_of_those_beside_it(engine: Engine) -> None:
    bad = engine.enqueue([NewJob(kind="reply", payload='"\ud800"')], max_attempts=5)
    good = [engine.enqueue([job(n)], max_attempts=5) for n in range(10)]
    results = await asyncio.gather(*good[:5], bad, *good[5:], return_exceptions=True)
    assert sum(isinstance(each, BaseException) for each in results) == 1
    assert len(await everything(engine)) == 10


def test_a_delay_with_an_ordering_key_is_refused() -> None:
    with pytest.raises(ValueError, match="ordering key"):
        job(key="a", delay=1.0)
