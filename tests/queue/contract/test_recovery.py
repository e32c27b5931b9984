"""The claims of a dead worker are recovered at once, those of a live one are left alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from convoq.queue.base import Claim
from tests.clock import ManualClock
from tests.queue.conftest import Engine, OpenEngine, StartChild
from tests.queue.contract.steps import (
    Verb,
    attempts,
    everything,
    expect_lost,
    job,
    numbers,
    put,
    recovered,
    take,
    take_one,
)

pytestmark = pytest.mark.long


async def test_claims_of_a_killed_worker_are_recovered_at_once(
    engine: Engine, start_child: StartChild, clock: ManualClock
) -> None:
    await engine.register("survivor")
    await put(engine, job(1, key="a"), job(2, key="a"), job(3, key="b"))
    child = await start_child("claim")
    assert child.said == "2"
    assert await take(engine) == []
    await child.kill()
    assert await recovered(engine) == 2
    claims = {claim.lane: claim for claim in await take(engine)}
    assert (numbers(claims["a"]), attempts(claims["a"])) == ([1, 2], [2, 2])
    assert (numbers(claims["b"]), attempts(claims["b"])) == ([3], [2])


async def test_a_recovered_claim_is_recovered_once(engine: Engine, start_child: StartChild) -> None:
    await engine.register("survivor")
    await put(engine, job(1))
    await (await start_child("claim")).kill()
    assert await recovered(engine) == 1
    assert await engine.recover() == 0
    await take_one(engine, worker="survivor")
    assert await engine.recover() == 0


async def test_a_live_workers_claims_are_not_touched(engine: Engine, start_child: StartChild) -> None:
    await put(engine, job(1))
    await start_child("claim")
    before = await everything(engine)
    assert await engine.recover() == 0
    assert await everything(engine) == before
    assert await take(engine) == []


async def test_a_live_worker_in_the_same_process_is_not_touched(open_engine: OpenEngine) -> None:
    worker, other = (await open_engine()).engine, (await open_engine()).engine
    await worker.register("w")
    await other.register("other")
    await put(worker, job(1))
    claim = await take_one(worker, worker="w")
    assert await other.recover() == 0
    assert await worker.recover() == 0
    await worker.ack(claim)


async def test_claims_of_a_closed_worker_are_recovered(open_engine: OpenEngine) -> None:
    worker, other = await open_engine(), (await open_engine()).engine
    await worker.engine.register("w")
    await put(other, job(1))
    await take_one(worker.engine, worker="w", lease=3600.0)
    await worker.close()
    await recovered(other)
    assert attempts(await take_one(other)) == [2]


async def test_only_the_dead_workers_claims_are_recovered(engine: Engine, start_child: StartChild) -> None:
    await put(engine, job(1))
    doomed = await start_child("claim", "doomed")
    await put(engine, job(2))
    await start_child("claim", "alive")
    await doomed.kill()
    assert await recovered(engine) == 1
    assert numbers(await take_one(engine)) == [1]


async def test_a_dead_workers_receipt_is_void_after_the_recovery(
    engine: Engine, open_engine: OpenEngine, verb: Verb
) -> None:
    worker = await open_engine()
    await worker.engine.register("w")
    await put(engine, job(1, key="a"))
    dead = await take_one(worker.engine, worker="w", lease=3600.0)
    await worker.close()
    await recovered(engine)
    await take_one(engine)
    await expect_lost(engine, verb, dead)


# --- Crashes


async def crash(open_engine: OpenEngine, times: int) -> None:
    """Workers that die, one after the other, with all that is due."""
    for number in range(times):
        doomed, other = await open_engine(), (await open_engine()).engine
        await doomed.engine.register(f"doomed{number}")
        assert await take(doomed.engine, worker=f"doomed{number}", lease=3600.0)
        await doomed.close()
        await recovered(other)


async def test_each_death_of_its_worker_is_counted_on_the_lane(engine: Engine, open_engine: OpenEngine) -> None:
    await put(engine, job(1, key="a"), job(2, key="b"))
    await crash(open_engine, 1)
    await put(engine, job(3, key="b"), job(4, key="c"))
    await crash(open_engine, 2)
    await put(engine, job(5, key="d"))
    assert {claim.lane: claim.crashes for claim in await take(engine)} == {"a": 3, "b": 3, "c": 2, "d": 0}


ENDS: dict[str, Callable[[Engine, Claim], Awaitable[object]]] = {
    "ack": lambda engine, claim: engine.ack(claim),
    "bury": lambda engine, claim: engine.bury(claim, claim.jobs, error="no"),
    "snooze": lambda engine, claim: engine.nack(claim, delay=0.0),
    "retry": lambda engine, claim: engine.nack(claim, delay=0.0, charged=claim.jobs, error="no"),
}


@pytest.mark.parametrize("end", list(ENDS))
async def test_a_claim_that_comes_to_an_end_clears_its_lane(engine: Engine, open_engine: OpenEngine, end: str) -> None:
    await put(engine, job(1, key="a"), job(2, key="a", kind="send"))
    await crash(open_engine, 3)
    claim = await take_one(engine)
    assert claim.crashes == 3
    await ENDS[end](engine, claim)
    assert (await take_one(engine)).crashes == 0


async def test_a_claim_that_was_left_unrun_does_not_clear_its_lane(engine: Engine, open_engine: OpenEngine) -> None:
    await put(engine, job(1, key="a"))
    await crash(open_engine, 2)
    await engine.nack(await take_one(engine), delay=0.0, unrun=True)
    assert (await take_one(engine)).crashes == 2


async def test_a_lease_that_ran_out_is_no_crash(engine: Engine, open_engine: OpenEngine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a"))
    await crash(open_engine, 1)
    await take_one(engine, lease=10.0)
    clock.advance(10.0)
    assert (await take_one(engine)).crashes == 1


async def test_crashes_fade_ten_minutes_after_the_last(
    engine: Engine, open_engine: OpenEngine, clock: ManualClock
) -> None:
    await put(engine, job(1, key="a"))
    for _ in range(2):
        await crash(open_engine, 1)
        clock.advance(599.0)
    claim = await take_one(engine)
    assert claim.crashes == 2
    await engine.nack(claim, delay=0.0, unrun=True)
    clock.advance(1.0)
    claim = await take_one(engine)
    assert claim.crashes == 0
    await engine.nack(claim, delay=0.0, unrun=True)
    await crash(open_engine, 1)
    assert (await take_one(engine)).crashes == 1
