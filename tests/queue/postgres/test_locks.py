"""Who waits for whom: nothing is lost between two transactions, and no enqueue waits for one that stands still."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import pytest

from convoq.db.postgres.transaction import PostgresTransaction
from convoq.queue.base import Claim
from convoq.queue.postgres import lanes
from convoq.queue.postgres.backend import PostgresQueue
from tests.clock import ManualClock
from tests.queue.contract.steps import EVERYTHING, everything, job, numbers, put, take, take_one, takes_to_the_end
from tests.queue.postgres.steps import PROMPTLY, Session, enqueue_by_hand, until_something_waits

OpenSession = Callable[[], Session]
Act = Callable[[PostgresQueue, PostgresTransaction, Claim], object]
ACTS: dict[str, Act] = {
    "ack": lambda queue, tx, claim: queue.joined.ack(tx, claim, forget=True),
    "kick": lambda queue, tx, _: queue.joined.kick(tx, "a"),
    "enqueue": lambda queue, tx, _: queue.joined.enqueue(tx, job(9, kind="turn", key="a", max_attempts=3)),
    "bury": lambda queue, tx, claim: lanes.bury(tx, claim, claim.jobs, "no", queue._now()),
}


@pytest.fixture(params=list(ACTS))
def act(request: pytest.FixtureRequest) -> Act:
    return ACTS[request.param]


async def lanes_in(queue: PostgresQueue) -> list[str]:
    found = await queue._database.read(lambda tx: tx.execute("SELECT lane FROM lanes ORDER BY lane").fetchall())
    return [lane for (lane,) in found]


# --- A transaction of the store's that stands still


async def test_an_enqueue_does_not_wait_for_it(queue: PostgresQueue, tx: PostgresTransaction, act: Act) -> None:
    await put(queue, job(1, key="a"))
    claim = await take_one(queue)
    act(queue, tx, claim)
    async with asyncio.timeout(PROMPTLY):
        await put(queue, job(2, key="a"), job(3, key="b"))


async def test_what_is_enqueued_meanwhile_is_not_lost(
    queue: PostgresQueue, session: Session, tx: PostgresTransaction, act: Act
) -> None:
    await put(queue, job(1, key="a"))
    claim = await take_one(queue)
    act(queue, tx, claim)
    await put(queue, job(2, key="a"))
    session.commit()
    if queue.extend([claim], lease=60.0) == []:
        await queue.ack(claim)
    assert 2 in await takes_to_the_end(queue)


async def test_a_claim_passes_by_the_lane_that_it_holds(queue: PostgresQueue, tx: PostgresTransaction) -> None:
    await put(queue, job(1, key="a", kind="turn"), job(2, key="b"))
    assert not queue.joined.enqueue(tx, job(3, key="a", kind="turn", max_attempts=3))
    async with asyncio.timeout(PROMPTLY):
        assert [claim.lane for claim in await take(queue)] == ["b"]


# --- Empty lanes


async def test_what_it_leaves_empty_is_due_never_and_goes_with_the_next_claim(queue: PostgresQueue) -> None:
    await put(queue, job(1, key="a"))
    claim = await take_one(queue)
    assert await queue._database.write(lambda tx: queue.joined.ack(tx, claim, forget=True))
    assert (await lanes_in(queue), await queue.next_due(), await queue.busy(["a"])) == (["a"], None, set())
    assert await take(queue) == []
    assert await lanes_in(queue) == []


async def test_what_it_leaves_empty_is_a_new_lane_for_the_next_job(queue: PostgresQueue, clock: ManualClock) -> None:
    await put(queue, job(1, key="a", priority=1))
    claim = await take_one(queue)
    assert await queue._database.write(lambda tx: queue.joined.ack(tx, claim, forget=True))
    clock.advance(5.0)
    await put(queue, job(2, key="a", priority=3))
    [waiting] = await everything(queue)
    assert waiting.due_at == clock.now()
    assert (await take_one(queue)).priority == 3


# --- An enqueue that has not been committed


async def test_a_lane_into_which_something_is_just_enqueued_stays_when_its_claim_ends(
    queue: PostgresQueue, session: Session, clock: ManualClock
) -> None:
    await put(queue, job(1, key="a"))
    claim = await take_one(queue)
    session.execute("BEGIN")
    enqueue_by_hand(session, clock.now(), "a")
    async with asyncio.timeout(PROMPTLY):
        await queue.ack(claim)
        assert await take(queue) == []
    session.commit()
    assert numbers(await take_one(queue)) == [1]


async def test_of_two_enqueues_with_one_dedup_key_at_a_time_the_second_is_the_duplicate(
    session: Session, open_session: OpenSession, clock: ManualClock
) -> None:
    digest = uuid.uuid4()
    session.execute("BEGIN")
    [first], _, _ = enqueue_by_hand(session, clock.now(), "a", digest=digest)
    second = beside(open_session(), clock.now(), "b", digest=digest)
    await until_something_waits(session)
    session.commit()
    assert await second == ([first], [True], None)


async def test_of_two_enqueues_with_one_waiting_key_at_a_time_the_second_joins_the_first(
    session: Session, open_session: OpenSession, clock: ManualClock
) -> None:
    session.execute("BEGIN")
    [first], _, _ = enqueue_by_hand(session, clock.now(), "a", waiting_key="w")
    second = beside(open_session(), clock.now(), "b", waiting_key="w")
    await until_something_waits(session)
    session.commit()
    assert await second == ([first], [False], [True])


async def test_enqueues_that_make_the_same_lanes_in_another_order_do_not_wait_for_each_other(
    queue: PostgresQueue, open_session: OpenSession, clock: ManualClock
) -> None:
    keys = [f"lane{number:02d}" for number in range(50)]

    def produce(session: Session, order: list[str]) -> None:
        for number in range(20):  # a deadlock would be an error here
            enqueue_by_hand(session, clock.now(), *(f"{key}|{number}" for key in order))

    await asyncio.gather(*(asyncio.to_thread(produce, open_session(), order) for order in (keys, keys[::-1])))
    assert await queue.count(EVERYTHING) == 2 * 20 * len(keys)


def beside(session: Session, now: int, key: str, **also: object) -> Awaitable[object]:
    return asyncio.ensure_future(asyncio.to_thread(enqueue_by_hand, session, now, key, **also))
