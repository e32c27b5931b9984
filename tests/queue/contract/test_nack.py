"""A nack puts the unfinished jobs back at the front of their lane, after its delay."""

from __future__ import annotations

from convoq.queue.base import JobState
from tests.clock import ManualClock
from tests.queue.conftest import Engine
from tests.queue.contract.steps import (
    everything,
    job,
    numbers,
    put,
    record,
    take,
    take_one,
    takes_to_the_end,
)


async def test_nack_holds_the_whole_lane_for_its_delay(engine: Engine, clock: ManualClock) -> None:
    await put(engine, job(1, key="a"))
    await engine.nack(await take_one(engine), delay=10.0)
    await put(engine, job(2, key="a"))
    clock.advance(9.999)
    assert await take(engine) == []
    clock.advance(0.001)
    assert numbers(await take_one(engine)) == [1, 2]


async def test_nack_holds_no_other_lane(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="b"))
    for claim in await take(engine):
        await engine.nack(claim, delay=60.0 if claim.lane == "a" else 0.0)
    assert (await take_one(engine)).lane == "b"


async def test_nack_without_delay_makes_the_lane_due_at_once(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    await engine.nack(await take_one(engine, lease=3600.0), delay=0.0)
    assert numbers(await take_one(engine)) == [1]


async def test_nack_puts_the_jobs_back_at_the_front(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="a"))
    claim = await take_one(engine)
    await put(engine, job(3, key="a", kind="send"))
    await engine.nack(claim, delay=0.0, charged=claim.jobs)
    assert await takes_to_the_end(engine) == [1, 2, 3]


async def test_nack_gives_back_only_what_is_unfinished(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="a"), job(3, key="a"))
    claim = await take_one(engine)
    await engine.skip(claim, claim.jobs[:1], reason="late")
    await engine.bury(claim, claim.jobs[1:2], error="no")
    await engine.nack(claim, delay=0.0, charged=claim.jobs)
    assert numbers(await take_one(engine)) == [3]
    assert [each.state for each in await everything(engine)] == [JobState.READY, JobState.DEAD, JobState.CANCELLED]


async def test_nack_refunds_no_finished_job(engine: Engine) -> None:
    [dead, _] = await put(engine, job(1, key="a"), job(2, key="a"))
    claim = await take_one(engine)
    await engine.bury(claim, claim.jobs[:1], error="no")
    await engine.nack(claim, delay=0.0)
    assert (await record(engine, dead)).attempt == 1


async def test_nack_leaves_the_attempts_of_jobs_behind_the_claim(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    claim = await take_one(engine)
    [behind] = await put(engine, job(2, key="a"))
    await engine.nack(claim, delay=0.0)
    assert (await record(engine, behind)).attempt == 0


async def test_nack_records_its_error(engine: Engine) -> None:
    [job_id] = await put(engine, job())
    claim = await take_one(engine)
    await engine.nack(claim, delay=5.0, charged=claim.jobs, error="boom: ünï 100 %")
    got = await record(engine, job_id)
    assert (got.error, got.state, got.running) == ("boom: ünï 100 %", JobState.READY, False)
