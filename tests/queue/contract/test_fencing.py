"""A claim that was lost changes nothing: neither in the queue nor in a write that its fence guards."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from convoq.errors import LeaseLost
from convoq.queue.base import Claim, JobFilter
from tests.clock import ManualClock
from tests.queue.conftest import Engine, Opened, OpenEngine
from tests.queue.contract.steps import (
    LEASE,
    Verb,
    attempts,
    expect_lost,
    fail,
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


def note(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE note (text TEXT)")


def notes(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'note'").fetchone()[0])


async def test_a_live_fence_lets_a_write_through(store: Opened) -> None:
    await put(store.engine, job())
    fence = store.engine.fence(await take_one(store.engine))

    def unit(connection: sqlite3.Connection) -> None:
        fence.check(connection)
        note(connection)

    await store.database.write(unit)
    assert await store.database.read(notes) == 1


async def test_a_stale_fence_undoes_the_write_it_stands_in(store: Opened, clock: ManualClock) -> None:
    await put(store.engine, job())
    fence = store.engine.fence(await take_one(store.engine))
    clock.advance(LEASE)
    await take_one(store.engine)

    def unit(connection: sqlite3.Connection) -> None:
        note(connection)
        fence.check(connection)

    with pytest.raises(LeaseLost):
        await store.database.write(unit)
    assert await store.database.read(notes) == 0


async def test_a_fence_closes_when_its_claim_ends(store: Opened) -> None:
    await put(store.engine, job())
    claim = await take_one(store.engine)
    await store.engine.ack(claim)
    with pytest.raises(LeaseLost):
        await store.database.write(store.engine.fence(claim).check)


async def test_a_fence_stays_open_while_some_jobs_of_the_claim_are_left(store: Opened) -> None:
    await put(store.engine, job(1, key="a"), job(2, key="a"))
    claim = await take_one(store.engine)
    await store.engine.ack(claim, claim.jobs[:1])
    await store.database.write(store.engine.fence(claim).check)


async def test_a_fence_sees_no_newer_job_in_the_claim_itself(store: Opened) -> None:
    await put(store.engine, job(1, key="a"), job(2, key="a"), job(3, key="b"))
    claims = await take(store.engine)
    assert [await store.database.write(store.engine.fence(claim).has_newer) for claim in claims] == [False, False]


@pytest.mark.parametrize(("kind", "seen"), [("reply", True), ("send", False)])
async def test_a_fence_sees_the_newer_jobs_that_the_claim_could_absorb(store: Opened, kind: str, seen: bool) -> None:
    await put(store.engine, job(1, key="a"))
    fence = store.engine.fence(await take_one(store.engine))
    await put(store.engine, job(2, key="a", kind=kind))
    assert await store.database.write(fence.has_newer) is seen


async def test_a_fence_sees_nothing_that_a_claim_alone_could_not_absorb(store: Opened) -> None:
    await put(store.engine, job(1, key="a"), job(2, key="a"))
    await fail(store.engine, 2)
    fence = store.engine.fence(await take_one(store.engine))
    assert await store.database.write(fence.has_newer) is False


async def test_a_fence_sees_nothing_newer_once_it_is_absorbed(store: Opened) -> None:
    await put(store.engine, job(1, key="a"))
    claim = await take_one(store.engine)
    await put(store.engine, job(2, key="a"))
    fence = store.engine.fence(await store.engine.absorb(claim))
    assert await store.database.write(fence.has_newer) is False


async def test_a_fence_does_not_count_cancelled_jobs_as_newer(store: Opened) -> None:
    await put(store.engine, job(1, key="a"))
    fence = store.engine.fence(await take_one(store.engine))
    [newer] = await put(store.engine, job(2, key="a"))
    await store.engine.cancel(JobFilter(ids=(newer,)))
    assert await store.database.write(fence.has_newer) is False


async def test_a_fence_does_not_count_other_lanes_as_newer(store: Opened) -> None:
    await put(store.engine, job(1, key="a"))
    fence = store.engine.fence(await take_one(store.engine))
    await put(store.engine, job(2, key="b"), job(3))
    assert await store.database.write(fence.has_newer) is False
