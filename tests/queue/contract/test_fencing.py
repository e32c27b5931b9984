"""A claim that was lost changes nothing."""

from __future__ import annotations

import asyncio

from convoq.queue.base import Claim
from tests.clock import ManualClock
from tests.queue.conftest import Engine, OpenEngine
from tests.queue.contract.steps import (
    LEASE,
    Verb,
    attempts,
    expect_lost,
    job,
    numbers,
    put,
    take,
    take_one,
)


async def test_a_late_worker_leaves_the_new_holder_alone(
    engine: Engine, open_engine: OpenEngine, clock: ManualClock, verb: Verb
) -> None:
    await put(engine, job(1, key="a"), job(2, key="a"))
    late = await take_one(engine, worker="late")
    clock.advance(LEASE)
    holder = await take_one((await open_engine()).engine, worker="new")
    await put(engine, job(3, key="a"))
    await expect_lost(engine, verb, late)
    await engine.ack(holder)
    assert numbers(await take_one(engine)) == [3]


async def test_claiming_a_lane_again_does_not_revive_the_workers_old_receipt(
    engine: Engine, clock: ManualClock, verb: Verb
) -> None:
    await put(engine, job(1, key="a"))
    late = await take_one(engine)
    clock.advance(LEASE)
    await take_one(engine)
    await expect_lost(engine, verb, late)


async def test_a_receipt_ends_with_the_ack(engine: Engine, verb: Verb) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    await put(engine, job(2, key="a"))
    await engine.ack(claim)
    await expect_lost(engine, verb, claim)
    assert numbers(await take_one(engine)) == [2]


async def test_a_receipt_ends_with_the_nack(engine: Engine, verb: Verb) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    await engine.nack(claim, delay=0.0, charged=claim.jobs)
    await expect_lost(engine, verb, claim)
    assert attempts(await take_one(engine)) == [2]


async def test_a_receipt_ends_with_the_burial_of_all(engine: Engine, verb: Verb) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    await engine.bury(claim, claim.jobs, error="no")
    await expect_lost(engine, verb, claim)


async def test_an_old_receipt_does_not_open_a_lane_that_was_built_anew(engine: Engine, verb: Verb) -> None:
    await put(engine, job(1, key="a"))
    old = await take_one(engine)
    await engine.ack(old)
    await put(engine, job(2, key="a"))
    await take_one(engine)
    await expect_lost(engine, verb, old)


async def test_a_receipt_of_another_lane_opens_nothing(engine: Engine, verb: Verb) -> None:
    await put(engine, job(1, key="a"), job(2, key="b"))
    one, other = await take(engine)
    await expect_lost(engine, verb, Claim(one.lane, other.receipt, one.jobs))


async def test_of_two_racing_acks_one_wins(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    results = await asyncio.gather(*[engine.ack(claim) for _ in range(4)], return_exceptions=True)
    assert sorted(type(each).__name__ for each in results) == ["LeaseLost"] * 3 + ["NoneType"]
