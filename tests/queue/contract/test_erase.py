"""Erased jobs are gone, whatever they were doing, and what stood behind them goes on."""

from __future__ import annotations

import pytest

from convoq.errors import LeaseLost
from convoq.queue.base import JobState
from tests.queue.conftest import Engine
from tests.queue.contract.steps import everything, job, numbers, put, take, take_one


async def test_jobs_of_every_state_are_erased(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="b"))
    for claim in await take(engine):
        if numbers(claim) == [1]:
            await engine.ack(claim)
        else:
            await engine.bury(claim, claim.jobs, error="cannot")
    await put(engine, job(3, key="c"), job(4, key="d", kind="turn"))
    assert await engine.erase([one.id for one in await everything(engine)]) == 4
    assert (await everything(engine), await take(engine), await engine.next_due()) == ([], [], None)


async def test_the_claim_of_an_erased_job_is_lost(engine: Engine) -> None:
    [job_id] = await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    assert await engine.erase([job_id]) == 1
    assert engine.extend([claim], lease=30) == [claim]
    with pytest.raises(LeaseLost):
        await engine.ack(claim)
    with pytest.raises(LeaseLost):
        await engine.nack(claim, delay=0, charged=claim.jobs, error="its text")
    assert await everything(engine) == []


async def test_what_stands_behind_an_erased_job_is_due_at_once(engine: Engine) -> None:
    [first, _] = await put(engine, job(1, key="a", kind="turn"), job(2, key="a", kind="turn"))
    await take_one(engine)
    await engine.erase([first])
    assert numbers(await take_one(engine)) == [2]


async def test_what_runs_in_front_of_an_erased_job_goes_on(engine: Engine) -> None:
    [_, second] = await put(engine, job(1, key="a", kind="turn"), job(2, key="a", kind="turn"))
    claim = await take_one(engine)
    await engine.erase([second])
    await engine.ack(claim)
    assert [one.state for one in await everything(engine)] == [JobState.DONE]


async def test_an_erased_job_of_the_same_dedup_key_does_not_come_back(engine: Engine) -> None:
    [job_id] = await put(engine, job(1, key="a", dedup="SM1"))
    await engine.erase([job_id])
    [again] = await engine.enqueue([job(1, key="a", dedup="SM1")], max_attempts=5)
    assert (again.duplicate, await everything(engine)) == (True, [])


async def test_ids_that_are_none_erase_nothing(engine: Engine) -> None:
    await put(engine, job(1))
    assert await engine.erase(["99", "x"]) == 0
    assert await engine.erase([]) == 0
    assert len(await everything(engine)) == 1
