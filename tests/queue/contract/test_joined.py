"""What the store does with the queue inside its own transactions: all of it, or nothing."""

from __future__ import annotations

import asyncio

import pytest

from convoq.db.transaction import Transaction
from convoq.jobs import NewJob
from convoq.queue.base import Capability, JobState
from tests.clock import ManualClock
from tests.queue.conftest import Opened, OpenEngine
from tests.queue.contract.steps import (
    LEASE,
    LONG,
    everything,
    job,
    numbers,
    put,
    take,
    take_one,
)

pytestmark = pytest.mark.needs(Capability.SHARED_COMMIT)


def turn(n: int = 0, *, key: str = "a", kind: str = "turn") -> NewJob:
    return job(n, kind=kind, key=key, max_attempts=9)


async def join(store: Opened, *jobs: NewJob) -> list[bool]:
    """Whether each was added."""
    return [await store.database.write(store.joined.enqueue, new) for new in jobs]


# --- Enqueue


async def test_a_joined_job_comes_with_its_transaction(store: Opened) -> None:
    await join(store, turn(7))
    claim = await take_one(store.engine)
    assert (numbers(claim), claim.lane, claim.kind, claim.jobs[0].max_attempts) == ([7], "a", "turn", 9)


async def test_a_joined_job_goes_with_its_transaction(store: Opened) -> None:
    def unit(tx: Transaction) -> None:
        store.joined.enqueue(tx, turn())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.database.write(unit)
    assert await everything(store.engine) == []


async def test_a_second_one_is_not_added_while_one_of_its_kind_stands_ready(store: Opened) -> None:
    assert await join(store, turn(1), turn(2)) == [True, False]
    assert numbers(await take_one(store.engine)) == [1]
    assert len(await everything(store.engine)) == 1


async def test_one_that_waits_for_its_time_stands_ready_too(store: Opened) -> None:
    await join(store, turn(1))
    await store.engine.nack(await take_one(store.engine), delay=60.0)
    await join(store, turn(2))
    assert len(await everything(store.engine)) == 1


async def test_one_is_added_behind_one_that_is_claimed(store: Opened) -> None:
    await join(store, turn(1))
    claim = await take_one(store.engine)
    await join(store, turn(2), turn(3))
    await store.engine.ack(claim)
    assert numbers(await take_one(store.engine)) == [2]


async def test_one_is_added_behind_one_whose_lease_has_run_out(store: Opened, clock: ManualClock) -> None:
    await join(store, turn(1))
    await take_one(store.engine)
    clock.advance(LEASE)
    await join(store, turn(2))
    assert len(await everything(store.engine)) == 2


async def test_one_that_was_claimed_and_went_back_stands_ready(store: Opened) -> None:
    await join(store, turn(1))
    claim = await take_one(store.engine)
    await store.engine.nack(claim, delay=0.0, charged=claim.jobs)
    await join(store, turn(2))
    assert len(await everything(store.engine)) == 1


@pytest.mark.parametrize("other", [turn(2, kind="send"), turn(2, key="b")], ids=["kind", "lane"])
async def test_one_of_another_kind_or_lane_does_not_count(store: Opened, other: NewJob) -> None:
    await join(store, turn(1), other)
    assert len(await everything(store.engine)) == 2


async def test_those_that_are_over_do_not_count(store: Opened) -> None:
    await join(store, turn(1))
    claim = await take_one(store.engine)
    await store.engine.bury(claim, claim.jobs, error="no")
    await join(store, turn(2))
    await store.engine.ack(await take_one(store.engine))
    await join(store, turn(3))
    assert numbers(await take_one(store.engine)) == [3]


async def test_a_joined_job_stands_behind_what_was_enqueued_before(store: Opened) -> None:
    await put(store.engine, job(1, key="a", kind="send"))
    await join(store, turn(2))
    await put(store.engine, job(3, key="a", kind="send"))
    seen = []
    while claims := await take(store.engine):
        seen += numbers(claims[0])
        await store.engine.ack(claims[0])
    assert seen == [1, 2, 3]


async def test_it_makes_its_lane_as_urgent_as_it_is(store: Opened) -> None:
    await put(store.engine, job(1, key="a", priority=3))
    await join(store, NewJob(kind="turn", payload="{}", ordering_key="a", priority=1, max_attempts=1))
    assert (await take_one(store.engine)).priority == 1


@pytest.mark.parametrize("new", [job(dedup="k", max_attempts=3), job()], ids=["dedup key", "no max_attempts"])
async def test_what_it_cannot_promise_is_refused(store: Opened, new: NewJob) -> None:
    with pytest.raises(ValueError, match="max_attempts and no dedup key"):
        await join(store, new)


# --- Ack


@pytest.mark.parametrize(("forget", "left"), [(False, [JobState.DONE]), (True, [])], ids=["kept", "forgotten"])
async def test_a_joined_ack_ends_the_claim(store: Opened, forget: bool, left: list[JobState]) -> None:
    await put(store.engine, job(1, key="a"))
    claim = await take_one(store.engine)
    assert await store.database.write(lambda tx: store.joined.ack(tx, claim, forget=forget))
    assert [each.state for each in await everything(store.engine)] == left
    await put(store.engine, job(2, key="a"))
    assert numbers(await take_one(store.engine)) == [2]


async def test_a_joined_ack_goes_with_its_transaction(store: Opened) -> None:
    await put(store.engine, job(1, key="a"))
    claim = await take_one(store.engine)
    before = await everything(store.engine)

    def unit(tx: Transaction) -> None:
        assert store.joined.ack(tx, claim, forget=False)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.database.write(unit)
    assert await everything(store.engine) == before
    assert store.engine.extend([claim], lease=LEASE) == []


@pytest.mark.parametrize("forget", [False, True])
async def test_a_late_joined_ack_changes_nothing_and_says_so(store: Opened, clock: ManualClock, forget: bool) -> None:
    await put(store.engine, job(1, key="a"))
    late = await take_one(store.engine)
    clock.advance(LEASE)
    await take_one(store.engine)
    before = await everything(store.engine)
    assert await store.database.write(lambda tx: store.joined.ack(tx, late, forget=forget)) is False
    assert await everything(store.engine) == before


async def test_an_ack_and_the_job_that_follows_it_come_together(store: Opened) -> None:
    await join(store, turn(1))
    claim = await take_one(store.engine)

    def unit(tx: Transaction) -> None:
        store.joined.enqueue(tx, turn(2, key="b"))
        assert store.joined.ack(tx, claim, forget=True)

    await store.database.write(unit)
    assert numbers(await take_one(store.engine)) == [2]
    assert len(await everything(store.engine)) == 1


# --- Kick and wake


async def test_a_kick_ends_the_wait_of_a_lane(store: Opened) -> None:
    await put(store.engine, job(1, key="a"), job(2, delay=60.0))
    await store.engine.nack(await take_one(store.engine), delay=60.0, reason="why")
    await store.database.write(store.joined.kick, "a")
    assert [each.reason for each in await everything(store.engine)] == [None, None]
    assert numbers(await take_one(store.engine)) == [1]


async def test_a_kick_leaves_a_claimed_lane_alone(store: Opened) -> None:
    await put(store.engine, job(1, key="a"))
    claim = await take_one(store.engine)
    before = await everything(store.engine)
    await store.database.write(store.joined.kick, "a")
    assert await everything(store.engine) == before
    assert store.engine.extend([claim], lease=LEASE) == []


async def test_a_kick_under_a_claim_ends_the_wait_that_the_claim_goes_back_with(store: Opened) -> None:
    await put(store.engine, job(1, key="a"))
    claim = await take_one(store.engine)
    await store.database.write(store.joined.kick, "a")
    await store.engine.nack(claim, delay=60.0, reason="why")
    assert [(each.reason, each.scheduled) for each in await everything(store.engine)] == [(None, False)]
    assert numbers(await take_one(store.engine)) == [1]


async def test_a_kick_ends_one_wait_alone(store: Opened) -> None:
    await put(store.engine, job(1, key="a"))
    claim = await take_one(store.engine)
    await store.database.write(store.joined.kick, "a")
    await store.engine.nack(claim, delay=60.0)
    await store.engine.nack(await take_one(store.engine), delay=60.0)
    assert await take(store.engine) == []


async def test_a_kick_is_over_with_the_lease_of_the_claim(store: Opened, clock: ManualClock) -> None:
    await put(store.engine, job(1, key="a"))
    await take_one(store.engine)
    await store.database.write(store.joined.kick, "a")
    clock.advance(LEASE)
    await store.engine.nack(await take_one(store.engine), delay=60.0)
    assert await take(store.engine) == []


async def test_a_kick_of_a_lane_that_is_not_there_does_nothing(store: Opened) -> None:
    await store.database.write(store.joined.kick, "nothing")
    assert await store.engine.next_due() is None


async def test_a_wake_tells_another_worker_of_what_was_joined(store: Opened, open_engine: OpenEngine) -> None:
    worker = (await open_engine()).engine
    await worker.register("w")
    waiting = asyncio.create_task(worker.wait(LONG))
    await asyncio.sleep(0.05)  # it is in its wait
    await join(store, turn(1))
    store.joined.wake()
    await asyncio.wait_for(waiting, 0.4)  # less than the slow look that is the net
