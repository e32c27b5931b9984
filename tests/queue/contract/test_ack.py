"""Acked jobs are done and never come back."""

from __future__ import annotations

import pytest

from convoq.errors import LeaseLost
from convoq.queue.base import JobState
from tests.clock import ManualClock
from tests.queue.conftest import Engine
from tests.queue.contract.steps import (
    DAY,
    LEASE,
    everything,
    job,
    numbers,
    put,
    take,
    take_one,
)


async def test_ack_finishes_all_jobs_of_the_claim(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a"), job(2, key="a"))
    claim = await take_one(engine)
    clock.advance(2.0)
    await engine.ack(claim)
    assert {(each.state, each.finished_at) for each in await everything(engine)} == {(JobState.DONE, clock.now())}
    clock.advance(DAY)
    assert await take(engine) == []


async def test_ack_leaves_a_buried_job_buried(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="a"))
    claim = await take_one(engine)
    await engine.bury(claim, claim.jobs[:1], error="no")
    await engine.ack(claim)
    assert [each.state for each in await everything(engine)] == [JobState.DONE, JobState.DEAD]


async def test_what_was_acked_does_not_come_back_after_the_lease(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    await put(engine, job(2, key="a"))
    await engine.ack(claim)
    clock.advance(LEASE)
    assert numbers(await take_one(engine)) == [2]


async def test_an_acked_claim_has_ended(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    await engine.ack(claim)
    with pytest.raises(LeaseLost):
        await engine.ack(claim)


async def test_what_is_forgotten_with_its_ack_leaves_no_row(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="a"))
    claim = await take_one(engine)
    [later] = await put(engine, job(3, key="a"))
    await engine.ack(claim, forget=True)
    assert [each.id for each in await everything(engine)] == [later]
    assert numbers(await take_one(engine)) == [3]


async def test_the_id_of_a_forgotten_job_is_not_used_again(engine: Engine) -> None:
    [first] = await put(engine, job(1))
    await engine.ack(await take_one(engine), forget=True)
    assert await put(engine, job(2)) != [first]


async def test_a_forgotten_job_keeps_its_dedup_key(engine: Engine) -> None:
    [first] = await put(engine, job(1, dedup="k"))
    await engine.ack(await take_one(engine), forget=True)
    assert await put(engine, job(1, dedup="k")) == [first]
    assert await everything(engine) == []
