"""The claims of a dead worker are recovered at once, those of a live one are left alone."""

from __future__ import annotations

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
    take,
    take_one,
)


async def test_claims_of_a_killed_worker_are_recovered_at_once(
    engine: Engine, start_child: StartChild, clock: ManualClock
) -> None:
    await engine.register("survivor")
    await put(engine, job(1, key="a"), job(2, key="a"), job(3, key="b"))
    child = await start_child("claim")
    assert child.said == "2"
    assert await take(engine) == []
    await child.kill()
    assert await engine.recover() == 2
    claims = {claim.lane: claim for claim in await take(engine)}
    assert (numbers(claims["a"]), attempts(claims["a"])) == ([1, 2], [2, 2])
    assert (numbers(claims["b"]), attempts(claims["b"])) == ([3], [2])


async def test_a_recovered_claim_is_recovered_once(engine: Engine, start_child: StartChild) -> None:
    await engine.register("survivor")
    await put(engine, job(1))
    await (await start_child("claim")).kill()
    assert await engine.recover() == 1
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
    await other.recover()
    assert attempts(await take_one(other)) == [2]


async def test_only_the_dead_workers_claims_are_recovered(engine: Engine, start_child: StartChild) -> None:
    await put(engine, job(1))
    doomed = await start_child("claim", "doomed")
    await put(engine, job(2))
    await start_child("claim", "alive")
    await doomed.kill()
    assert await engine.recover() == 1
    assert numbers(await take_one(engine)) == [1]


async def test_a_dead_workers_receipt_is_void_after_the_recovery(
    engine: Engine, open_engine: OpenEngine, verb: Verb
) -> None:
    worker = await open_engine()
    await worker.engine.register("w")
    await put(engine, job(1, key="a"))
    dead = await take_one(worker.engine, worker="w", lease=3600.0)
    await worker.close()
    await engine.recover()
    await take_one(engine)
    await expect_lost(engine, verb, dead)
