"""An attempt is charged at the claim and given back by a snooze; the third one is made alone."""

from __future__ import annotations

from convoq.queue.base import Backend
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


async def test_an_attempt_is_charged_at_the_claim(backend: Backend) -> None:
    [job_id] = await put(backend, job())
    assert (await record(backend, job_id)).attempt == 0
    assert attempts(await take_one(backend)) == [1]
    assert (await record(backend, job_id)).attempt == 1


async def test_a_charged_job_keeps_its_attempt(backend: Backend) -> None:
    await put(backend, job())
    await fail(backend, 1)
    assert (await everything(backend))[0].attempt == 1
    assert attempts(await take_one(backend)) == [2]


async def test_a_snooze_costs_no_attempt(backend: Backend) -> None:
    await put(backend, job())
    for _ in range(5):
        claim = await take_one(backend)
        assert attempts(claim) == [1]
        await backend.nack(claim, delay=0.0)
        assert (await everything(backend))[0].attempt == 0


async def test_only_the_charged_jobs_of_a_claim_pay(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    claim = await take_one(backend)
    await backend.nack(claim, delay=0.0, charged=claim.jobs[:1])
    again = await take_one(backend)
    assert (numbers(again), attempts(again)) == ([1, 2], [2, 1])


async def test_a_snooze_keeps_the_attempts_that_were_charged_before(backend: Backend) -> None:
    await put(backend, job())
    await fail(backend, 3)
    await backend.nack(await take_one(backend), delay=0.0)
    assert attempts(await take_one(backend)) == [4]


async def test_the_first_two_attempts_come_with_their_neighbours(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    await fail(backend, 1)
    claim = await take_one(backend)
    assert (numbers(claim), attempts(claim)) == ([1, 2], [2, 2])


async def test_from_the_third_attempt_on_a_job_comes_alone(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"))
    await fail(backend, 2)
    for attempt in (3, 4):
        claim = await take_one(backend)
        assert (numbers(claim), attempts(claim)) == ([1], [attempt])
        await backend.nack(claim, delay=0.0, charged=claim.jobs)


async def test_the_neighbour_of_a_poison_job_pays_nothing_for_its_third_attempt(backend: Backend) -> None:
    await put(backend, job(1, key="a"))
    await fail(backend, 2)
    await put(backend, job(2, key="a"))
    await backend.ack(await take_one(backend))
    assert attempts(await take_one(backend)) == [1]


async def test_a_job_behind_with_two_attempts_is_not_taken_along(backend: Backend) -> None:
    await put(backend, job(1, key="a"), job(2, key="a"), job(3, key="a"))
    for _ in range(2):
        claim = await take_one(backend)
        await backend.nack(claim, delay=0.0, charged=claim.jobs[1:2])
    seen = []
    while claims := await take(backend):
        seen.append((numbers(claims[0]), attempts(claims[0])))
        await backend.ack(claims[0])
    assert seen == [([1], [1]), ([2], [3]), ([3], [1])]


async def test_a_job_past_its_max_attempts_is_still_handed_out(backend: Backend) -> None:
    await put(backend, job(max_attempts=1))
    await fail(backend, 1)
    [got] = (await take_one(backend)).jobs
    assert (got.attempt, got.max_attempts) == (2, 1)
