"""The turn with its queue on Redis, over either store: the store comes first, the queue after, and may lag."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from convoq.errors import DatabaseUnavailable
from convoq.handlers.base import ClaimContext
from convoq.jobs import NORMAL, WakeThreads
from convoq.queue.base import Claim, JobFilter, JobState
from convoq.queue.redis.backend import RedisQueue
from tests.clock import ManualClock
from tests.handlers.house import House, open_house
from tests.servers.redis import RedisServer
from tests.stores import on_each
from tests.turn.confirming import NumberedConfirmations
from tests.turn.stepping import SteppedWorker, Steps
from tests.turn.test_any_step import at_any_step, cancel, lose_the_lane, may_have_left, sent_to, stop
from tests.turn.test_random_timelines import STEPS, TIMING, Timeline

SEEDS = 8
UNENDED = JobFilter(states=(JobState.READY, JobState.DEAD))


@pytest.fixture
async def house(
    database: Database | PostgresDatabase, clock: ManualClock, redis_server: RedisServer
) -> AsyncIterator[House]:
    async with open_house(database, clock, redis=redis_server.server) as house:
        yield house


@pytest.fixture
def redis_queue(house: House) -> RedisQueue:
    assert isinstance(house.engine, RedisQueue)
    return house.engine


# --- Whatever happens at which step


@on_each("seed", sqlite=range(SEEDS), postgres=range(SEEDS // 2))
async def test_in_any_timeline_everything_is_answered_once_and_in_order(
    database: Database | PostgresDatabase, clock: ManualClock, redis_server: RedisServer, seed: int
) -> None:
    numbered = NumberedConfirmations()
    async with open_house(database, clock, timing=TIMING, confirmations=numbered, redis=redis_server.server) as house:
        timeline = Timeline(house, seed)
        try:
            for _ in range(STEPS):
                await timeline.step()
            await timeline.end()
            await timeline.check()
        finally:
            for task in timeline.tasks:
                task.cancel()
            await asyncio.gather(*timeline.tasks, return_exceptions=True)


@pytest.mark.parametrize("ending", [stop, cancel])
async def test_nothing_that_had_not_left_goes_out_after_it(
    house: House, ending: Callable[[House, str], Awaitable[None]]
) -> None:
    async def end_it(steps: Steps, worker: SteppedWorker, who: str) -> None:
        left = may_have_left(worker, house, who)
        await ending(house, who)
        await worker.finish()
        await house.settle()
        assert len(sent_to(house, who)) <= left
        assert not await house.rows("SELECT 1 FROM outbox WHERE state IN ('ready', 'sending', 'ambiguous')")

    await at_any_step(house, end_it)


async def test_a_death_at_any_step_loses_and_doubles_nothing(house: House) -> None:
    async def die(steps: Steps, worker: SteppedWorker, who: str) -> None:
        worker.kill()
        await steps.recover(worker)
        await house.settle()
        assert sent_to(house, who) == ["a", "more"]

    await at_any_step(house, die)


async def test_a_worker_that_loses_its_lane_at_any_step_loses_and_doubles_nothing(house: House) -> None:
    async def go_on(steps: Steps, worker: SteppedWorker, who: str) -> None:
        await lose_the_lane(steps, worker)
        assert sent_to(house, who) == ["a", "more"]

    await at_any_step(house, go_on)


# --- Between the store and the queue


def unavailable(patch: pytest.MonkeyPatch, owner: object, name: str, *, after: bool = False, times: int = 1) -> None:
    """The next calls fail, before they have done anything or, with `after`, once they have done it all."""
    original = getattr(owner, name)
    failures = iter([DatabaseUnavailable("Redis is away")] * times)

    async def sometimes(*values: object, **options: object) -> object:
        failure = next(failures, None)
        if failure is not None and not after:
            raise failure
        result = await original(*values, **options)
        if failure is not None:
            raise failure
        return result

    patch.setattr(owner, name, sometimes)


async def fails_halfway(house: House, claim: Claim) -> None:
    """Its worker is killed where the queue fails it, and its lease runs out."""
    with pytest.raises(DatabaseUnavailable):
        await house.handlers[claim.kind](ClaimContext(claim, house.queue))
    house.clock.advance(house.queue.lease + 1)


async def test_a_worker_that_dies_between_record_and_enqueue_leaves_a_job_that_enqueues_the_turn(
    house: House, redis_queue: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    unavailable(monkeypatch, redis_queue, "follow")
    await house.hear("hello")
    await fails_halfway(house, *await house.claim(0, reserve=1))
    assert await house.outcomes() == [("hello", None)]
    await house.settle()
    assert (house.sent, await house.outcomes()) == (["re: hello"], [("hello", "answered")])


async def test_a_worker_that_dies_between_enqueue_and_ack_answers_nobody_twice(
    house: House, redis_queue: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    unavailable(monkeypatch, redis_queue, "follow", after=True)
    await house.hear("hello")
    await fails_halfway(house, *await house.claim(0, reserve=1))
    await house.settle()
    assert house.sent == ["re: hello"]
    assert await house.engine.count(UNENDED) == 0


async def test_what_a_queue_has_lost_is_found_in_the_store(house: House, redis_server: RedisServer) -> None:
    await house.hear_at_once("hello")
    await forget_everything(house)
    house.clock.advance(181)
    await house.upkeep(WakeThreads.kind)
    await house.settle()
    assert house.sent == ["re: hello"]


async def forget_everything(house: House) -> None:
    assert isinstance(house.engine, RedisQueue)
    scripts = house.engine._scripts
    for key in await scripts.command("KEYS", f"{scripts.prefix}*"):
        await scripts.command("DEL", key)


async def test_a_thread_whose_turn_waits_gets_no_second_one_from_the_repair(
    house: House, redis_queue: RedisQueue
) -> None:
    await house.hear_at_once("hello")
    house.clock.advance(181)
    await house.queue.enqueue(WakeThreads().job())
    [repair] = await redis_queue.claim(1, lease=60.0, worker="w", first=NORMAL)
    await house.handle(repair)
    assert await house.engine.count(UNENDED) == 1


async def test_a_cancel_that_the_queue_has_not_heard_of_leaves_a_turn_that_finds_nothing(
    house: House, redis_queue: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.hear_at_once("hello")
    run = redis_queue._scripts.run

    def without_cancel(script: str, *values: str | int | bytes) -> asyncio.Future[object]:
        if script == "cancel":
            raise DatabaseUnavailable("Redis is away")
        return run(script, *values)

    monkeypatch.setattr(redis_queue._scripts, "run", without_cancel)
    with pytest.raises(DatabaseUnavailable):
        await house.engine.cancel(JobFilter())
    await house.settle()
    assert (house.sent, await house.outcomes()) == ([], [("hello", "cancelled")])


async def test_a_retry_of_a_dead_letter_answers_what_has_failed(house: House) -> None:
    house.responder.always = RuntimeError("broken")
    await house.hear_at_once("hello")
    await house.settle()
    assert await house.outcomes() == [("hello", "failed")]
    [dead] = await house.dead()
    house.responder.always = None
    assert await house.engine.retry_dead(JobFilter(ids=(dead.id,))) == 1
    await house.settle()
    assert (house.sent[-1], await house.outcomes()) == ("re: hello", [("hello", "answered")])


async def test_a_part_that_is_to_be_sent_again_is_so_though_its_job_was_lost(
    house: House, redis_queue: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.hear_at_once("hello")
    await house.settle()
    unavailable(monkeypatch, redis_queue, "follow")
    await house.report(house.twilio.messages[0].sid, "undelivered", code=30008)
    await fails_halfway(house, *await house.claim(1))
    await house.settle()
    assert house.sent == ["re: hello"] * 2
