"""What follows in the queue from a transaction of the store's comes with it, or right after it."""

from __future__ import annotations

import asyncio

import pytest

from convoq.db.transaction import Transaction
from convoq.jobs import NewJob
from convoq.queue.following import FollowUps
from tests.clock import ManualClock
from tests.queue.conftest import Opened, OpenEngine
from tests.queue.contract.steps import (
    LEASE,
    LONG,
    PROMPTLY,
    everything,
    follow,
    job,
    kick,
    numbers,
    put,
    take,
    take_one,
    turn,
)

# --- Enqueue


async def test_a_job_that_follows_comes_with_or_after_its_transaction(store: Opened) -> None:
    await follow(store, turn(7))
    claim = await take_one(store.engine)
    assert (numbers(claim), claim.lane, claim.kind, claim.jobs[0].max_attempts) == ([7], "a", "turn", 9)


async def test_a_second_one_is_not_added_while_one_of_its_kind_stands_ready(store: Opened) -> None:
    assert await follow(store, turn(1), turn(2)) == [1, 0]
    assert numbers(await take_one(store.engine)) == [1]
    assert len(await everything(store.engine)) == 1


async def test_one_that_waits_for_its_time_stands_ready_too(store: Opened) -> None:
    await follow(store, turn(1))
    await store.engine.nack(await take_one(store.engine), delay=60.0)
    await follow(store, turn(2))
    assert len(await everything(store.engine)) == 1


async def test_one_is_added_behind_one_that_is_claimed(store: Opened) -> None:
    await follow(store, turn(1))
    claim = await take_one(store.engine)
    await follow(store, turn(2), turn(3))
    await store.engine.ack(claim)
    assert numbers(await take_one(store.engine)) == [2]


async def test_one_is_added_behind_one_whose_lease_has_run_out(store: Opened, clock: ManualClock) -> None:
    await follow(store, turn(1))
    await take_one(store.engine)
    clock.advance(LEASE)
    await follow(store, turn(2))
    assert len(await everything(store.engine)) == 2


async def test_one_that_was_claimed_and_went_back_stands_ready(store: Opened) -> None:
    await follow(store, turn(1))
    claim = await take_one(store.engine)
    await store.engine.nack(claim, delay=0.0, charged=claim.jobs)
    await follow(store, turn(2))
    assert len(await everything(store.engine)) == 1


@pytest.mark.parametrize("other", [turn(2, kind="send"), turn(2, key="b")], ids=["kind", "lane"])
async def test_one_of_another_kind_or_lane_does_not_count(store: Opened, other: NewJob) -> None:
    await follow(store, turn(1), other)
    assert len(await everything(store.engine)) == 2


async def test_those_that_are_over_do_not_count(store: Opened) -> None:
    await follow(store, turn(1))
    claim = await take_one(store.engine)
    await store.engine.bury(claim, claim.jobs, error="no")
    await follow(store, turn(2))
    await store.engine.ack(await take_one(store.engine))
    await follow(store, turn(3))
    assert numbers(await take_one(store.engine)) == [3]


async def test_a_job_that_follows_stands_behind_what_was_enqueued_before(store: Opened) -> None:
    await put(store.engine, job(1, key="a", kind="send"))
    await follow(store, turn(2))
    await put(store.engine, job(3, key="a", kind="send"))
    seen = []
    while claims := await take(store.engine):
        seen += numbers(claims[0])
        await store.engine.ack(claims[0])
    assert seen == [1, 2, 3]


async def test_it_makes_its_lane_as_urgent_as_it_is(store: Opened) -> None:
    await put(store.engine, job(1, key="a", priority=3))
    await follow(store, NewJob(kind="turn", payload="{}", ordering_key="a", priority=1, max_attempts=1))
    assert (await take_one(store.engine)).priority == 1


@pytest.mark.parametrize("new", [job(dedup="k", max_attempts=3), job()], ids=["dedup key", "no max_attempts"])
async def test_what_it_cannot_promise_is_refused(store: Opened, new: NewJob) -> None:
    with pytest.raises(ValueError, match="max_attempts and no dedup key"):
        await follow(store, new)


async def test_what_follows_from_a_transaction_that_fails_never_comes(store: Opened) -> None:
    follow_ups = store.follow_ups()

    def unit(tx: Transaction) -> None:
        follow_ups.enqueue(tx, turn())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.database.write(unit)
    assert await everything(store.engine) == []


async def test_a_job_comes_once_from_a_transaction_that_is_run_again(store: Opened) -> None:
    follow_ups: FollowUps = store.follow_ups()
    for _ in range(2):
        await store.database.write(follow_ups.enqueue, turn(1))
    await follow_ups.send()
    assert numbers(await take_one(store.engine)) == [1]
    assert len(await everything(store.engine)) == 1


# --- Kick and wake


async def test_a_kick_ends_the_wait_of_a_lane(store: Opened) -> None:
    await put(store.engine, job(1, key="a"), job(2, delay=60.0))
    await store.engine.nack(await take_one(store.engine), delay=60.0, reason="why")
    await kick(store, "a")
    assert [each.reason for each in await everything(store.engine)] == [None, None]
    assert numbers(await take_one(store.engine)) == [1]


async def test_a_kick_leaves_a_claimed_lane_alone(store: Opened) -> None:
    await put(store.engine, job(1, key="a"))
    claim = await take_one(store.engine)
    before = await everything(store.engine)
    await kick(store, "a")
    assert await everything(store.engine) == before
    assert store.engine.extend([claim], lease=LEASE) == []


async def test_a_kick_under_a_claim_ends_the_wait_that_the_claim_goes_back_with(store: Opened) -> None:
    await put(store.engine, job(1, key="a"))
    claim = await take_one(store.engine)
    await kick(store, "a")
    await store.engine.nack(claim, delay=60.0, reason="why")
    assert [(each.reason, each.scheduled) for each in await everything(store.engine)] == [(None, False)]
    assert numbers(await take_one(store.engine)) == [1]


async def test_a_kick_ends_one_wait_alone(store: Opened) -> None:
    await put(store.engine, job(1, key="a"))
    claim = await take_one(store.engine)
    await kick(store, "a")
    await store.engine.nack(claim, delay=60.0)
    await store.engine.nack(await take_one(store.engine), delay=60.0)
    assert await take(store.engine) == []


async def test_a_kick_is_over_with_the_lease_of_the_claim(store: Opened, clock: ManualClock) -> None:
    await put(store.engine, job(1, key="a"))
    await take_one(store.engine)
    await kick(store, "a")
    clock.advance(LEASE)
    await store.engine.nack(await take_one(store.engine), delay=60.0)
    assert await take(store.engine) == []


async def test_a_kick_of_a_lane_that_is_not_there_does_nothing(store: Opened) -> None:
    await kick(store, "nothing")
    assert await store.engine.next_due() is None


async def test_what_follows_wakes_another_worker(store: Opened, open_engine: OpenEngine) -> None:
    worker = (await open_engine()).engine
    await worker.register("w")
    waiting = asyncio.create_task(worker.wait(LONG))
    await asyncio.sleep(0.05)  # it is in its wait
    await follow(store, turn(1))
    await asyncio.wait_for(waiting, PROMPTLY)
