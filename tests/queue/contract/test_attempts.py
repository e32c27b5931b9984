"""An attempt is charged at the claim and given back by a snooze; the third one is made alone."""

from __future__ import annotations

from tests.queue.conftest import Engine
from tests.queue.contract.steps import (
    attempts,
    everything,
    fail,
    job,
    numbers,
    put,
    record,
    take,
    take_one,
)


async def test_an_attempt_is_charged_at_the_claim(engine: Engine) -> None:
    [job_id] = await put(engine, job())
    assert (await record(engine, job_id)).attempt == 0
    assert attempts(await take_one(engine)) == [1]
    assert (await record(engine, job_id)).attempt == 1


async def test_a_charged_job_keeps_its_attempt(engine: Engine) -> None:
    await put(engine, job())
    await fail(engine, 1)
    assert (await everything(engine))[0].attempt == 1
    assert attempts(await take_one(engine)) == [2]


async def test_a_snooze_costs_no_attempt(engine: Engine) -> None:
    await put(engine, job())
    for _ in range(5):
        claim = await take_one(engine)
        assert attempts(claim) == [1]
        await engine.nack(claim, delay=0.0)
        assert (await everything(engine))[0].attempt == 0


async def test_only_the_charged_jobs_of_a_claim_pay(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="a"))
    claim = await take_one(engine)
    await engine.nack(claim, delay=0.0, charged=claim.jobs[:1])
    again = await take_one(engine)
    assert (numbers(again), attempts(again)) == ([1, 2], [2, 1])


async def test_a_snooze_keeps_the_attempts_that_were_charged_before(engine: Engine) -> None:
    await put(engine, job())
    await fail(engine, 3)
    await engine.nack(await take_one(engine), delay=0.0)
    assert attempts(await take_one(engine)) == [4]


async def test_the_first_two_attempts_come_with_their_neighbours(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="a"))
    await fail(engine, 1)
    claim = await take_one(engine)
    assert (numbers(claim), attempts(claim)) == ([1, 2], [2, 2])


async def test_from_the_third_attempt_on_a_job_comes_alone(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="a"))
    await fail(engine, 2)
    for attempt in (3, 4):
        claim = await take_one(engine)
        assert (numbers(claim), attempts(claim)) == ([1], [attempt])
        await engine.nack(claim, delay=0.0, charged=claim.jobs)


async def test_the_neighbour_of_a_poison_job_pays_nothing_for_its_third_attempt(engine: Engine) -> None:
    await put(engine, job(1, key="a"))
    await fail(engine, 2)
    await put(engine, job(2, key="a"))
    await engine.ack(await take_one(engine))
    assert attempts(await take_one(engine)) == [1]


async def test_a_job_behind_with_two_attempts_is_not_taken_along(engine: Engine) -> None:
    await put(engine, job(1, key="a"), job(2, key="a"), job(3, key="a"))
    for _ in range(2):
        claim = await take_one(engine)
        await engine.nack(claim, delay=0.0, charged=claim.jobs[1:2])
    seen = []
    while claims := await take(engine):
        seen.append((numbers(claims[0]), attempts(claims[0])))
        await engine.ack(claims[0])
    assert seen == [([1], [1]), ([2], [3]), ([3], [1])]


async def test_a_job_past_its_max_attempts_is_still_handed_out(engine: Engine) -> None:
    await put(engine, job(max_attempts=1))
    await fail(engine, 1)
    [got] = (await take_one(engine)).jobs
    assert (got.attempt, got.max_attempts) == (2, 1)
