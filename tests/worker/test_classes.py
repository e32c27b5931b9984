"""Long jobs of one class and those that wait beside them: people keep a slot, and waiting costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from convoq.jobs import PEOPLE, PRIORITIES, UPKEEP
from convoq.queue.base import Claim, JobState
from tests.worker.harness import Gate, House, nothing


async def test_long_jobs_of_the_users_own_leave_a_slot_to_a_person(house: House) -> None:
    gate = Gate()
    await house.put(*[None] * 10)
    async with house.working(gate, concurrency=4):
        await gate.holds(3)
        [person] = await house.put(None, priority=PEOPLE)
        await gate.holds(1)
        assert gate.started[3:] == [person]
        gate.open.set()


async def test_a_background_job_starts_as_soon_as_another_ends(house: House) -> None:
    gate = Gate()
    jobs = await house.put(*[None] * 4)
    async with house.working(gate, concurrency=2):
        await gate.holds(1)
        gate.open.set()
        await house.until_done(*jobs)
    assert gate.most == 1


async def test_upkeep_comes_to_its_turn_in_a_flood_of_people(house: House) -> None:
    people = await house.put(*[None] * 40, priority=PEOPLE)
    [upkeep] = await house.put(None, priority=UPKEEP)
    gate = Gate()
    gate.open.set()
    async with house.working(gate, concurrency=2):
        await house.until_done(upkeep, *people)
    assert gate.started.index(upkeep) < 20


async def test_a_background_job_that_may_not_start_yet_is_not_asked_for_again_and_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, claims, looks = Gate(), 0, asyncio.Semaphore(0)
    waiting = await house.put(*[None] * 10)
    async with house.working(gate, concurrency=4) as running:
        await gate.holds(3)
        claim, recover = running.engine.claim, running.engine.recover

        async def counted(limit: int, **options: Any) -> list[Claim]:
            nonlocal claims
            claims += 1
            return await claim(limit, **options)

        async def looked() -> int:
            looks.release()
            return await recover()

        monkeypatch.setattr(running.engine, "claim", counted)
        monkeypatch.setattr(running.engine, "recover", looked)
        for _ in range(15):  # rounds of maintenance, 20 ms apart
            await asyncio.wait_for(looks.acquire(), 5.0)
        assert [(await house.record(job)).state for job in waiting[3:]] == [JobState.READY] * 7
        gate.open.set()
        await house.until_done(*waiting)
    assert claims < 15 + len(waiting)


async def test_a_single_slot_serves_every_class(house: House) -> None:
    gate = Gate()
    gate.open.set()
    jobs: Sequence[str] = [job for priority in PRIORITIES[1:] for job in await house.put(None, priority=priority)]
    async with house.working(gate, concurrency=1):
        await house.until_done(*jobs)


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_intake_is_taken_at_once_while_all_slots_are_busy(house: House, concurrency: int) -> None:
    gate = Gate()
    await house.put(*[None] * 6, priority=PEOPLE)
    async with house.working(gate, intake=nothing, concurrency=concurrency) as running:
        await gate.holds(concurrency)
        for n in range(3):
            await house.until_done(*await house.receive(f"in|{n}"))
        assert (gate.most, running.worker.busy) == (concurrency, concurrency)
        gate.open.set()


async def test_no_more_intake_runs_at_once_than_it_has_slots(house: House) -> None:
    gate = Gate()
    received = await house.receive(*[f"in|{n}" for n in range(12)])
    async with house.working(nothing, intake=gate, concurrency=2) as running:
        await gate.holds(8)
        await house.until_done(*await house.put(None, None, None))
        assert running.worker.busy == 8
        gate.open.set()
        await house.until_done(*received)
    assert gate.most == 8


async def test_a_worker_whose_slots_are_all_busy_is_not_woken_by_what_it_may_not_take(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, claims = Gate(), 0
    await house.put(*[None] * 2, priority=PEOPLE)
    async with house.working(gate, intake=nothing, concurrency=2) as running:
        await gate.holds(2)
        await house.until_done(*await house.receive("in|ann"))
        claim = running.engine.claim

        async def counted(limit: int, **options: Any) -> list[Claim]:
            nonlocal claims
            claims += 1
            return await claim(limit, **options)

        monkeypatch.setattr(running.engine, "claim", counted)
        for _ in range(20):
            await house.put(None, priority=PEOPLE)
        await house.until_done(*await house.receive("in|ann"))
        gate.open.set()
    assert claims < 10


async def test_drain_ends_only_once_intake_is_done_too(house: House) -> None:
    received = await house.receive(*[f"in|{n}" for n in range(20)])
    async with house.working(nothing, intake=nothing, drain=True, concurrency=1) as running:
        await running.ended()
    assert {(await house.record(job)).state for job in received} == {JobState.DONE}
