"""How much a worker runs at once, and in which order."""

from __future__ import annotations

import asyncio

from convoq.handlers.base import ClaimContext
from convoq.jobs import PEOPLE, UPKEEP
from tests.worker.harness import Gate, House, nothing


async def test_a_handled_job_is_done(house: House) -> None:
    [job_id] = await house.put(None)
    async with house.working(nothing):
        await house.until_done(job_id)


async def test_a_job_that_comes_later_is_handled_at_once(house: House) -> None:
    async with house.working(nothing) as running:
        await house.until_done(*await house.put(None))
        await asyncio.sleep(0.05)  # it waits for work by now
        [job_id] = await house.put(None)
        await house.until_done(job_id)
        assert running.worker.busy == 0


async def test_no_more_claims_run_at_once_than_there_are_slots(house: House) -> None:
    gate = Gate()
    ids = await house.put(*[None] * 7, priority=PEOPLE)
    async with house.working(gate, concurrency=3) as running:
        await gate.holds(3)
        assert running.worker.busy == 3
        gate.open.set()
        await house.until_done(*ids)
    assert gate.most == 3


async def test_no_more_is_claimed_than_there_are_slots(house: House) -> None:
    gate = Gate()
    ids = await house.put(*[None] * 5, priority=PEOPLE)
    async with house.working(gate, concurrency=2):
        await gate.holds(2)
        assert [(await house.record(job_id)).running for job_id in ids].count(True) == 2


async def test_a_free_slot_is_filled_while_others_are_busy(house: House) -> None:
    gate = Gate()

    async def first_waits(context: ClaimContext) -> None:
        if context.claim.jobs[0].id == slow:
            await gate(context)

    [slow] = await house.put(None, priority=PEOPLE)
    async with house.working(first_waits, concurrency=2):
        await gate.holds()
        await house.until_done(*await house.put(*[None] * 10, priority=PEOPLE))


async def test_one_lane_is_handled_in_order_by_any_number_of_workers(house: House) -> None:
    seen: list[str] = []

    async def note(context: ClaimContext) -> None:
        for job in context.claim.jobs:
            seen.append(job.id)
            await asyncio.sleep(0.001)

    async with house.working(note, name="a"), house.working(note, name="b"):
        ids = [job_id for _ in range(30) for job_id in await house.put("lane")]
        await house.until_done(*ids)
    assert seen == ids


async def test_people_come_before_upkeep(house: House) -> None:
    seen: list[str] = []

    async def note(context: ClaimContext) -> None:
        seen.append(context.claim.jobs[0].id)

    [upkeep] = await house.put(None, priority=UPKEEP)
    [person] = await house.put(None, priority=PEOPLE)
    async with house.working(note, concurrency=1):
        await house.until_done(upkeep, person)
    assert seen == [person, upkeep]
