"""What the store does with the queue inside its own transactions: all of it, or nothing."""

from __future__ import annotations

import pytest

from convoq.db.transaction import Transaction
from convoq.queue.base import Capability, JobState
from tests.clock import ManualClock
from tests.queue.conftest import Opened
from tests.queue.contract.steps import LEASE, everything, follow, job, numbers, put, take_one, turn

pytestmark = pytest.mark.needs(Capability.SHARED_COMMIT)


async def test_a_joined_job_goes_with_its_transaction(store: Opened) -> None:
    def unit(tx: Transaction) -> None:
        store.joined.enqueue(tx, turn())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.database.write(unit)
    assert await everything(store.engine) == []


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
    await follow(store, turn(1))
    claim = await take_one(store.engine)

    def unit(tx: Transaction) -> None:
        store.joined.enqueue(tx, turn(2, key="b"))
        assert store.joined.ack(tx, claim, forget=True)

    await store.database.write(unit)
    assert numbers(await take_one(store.engine)) == [2]
    assert len(await everything(store.engine)) == 1
