"""Lanes whose workers died: one of them may be the cause, and takes no other with it to the dead letters."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

from convoq.jobs import INTAKE, INTAKE_KIND, PEOPLE, NewJob
from convoq.queue.base import Claim, Job, JobFilter, JobState
from convoq.queue.sqlite.backend import SqliteQueue
from convoq.queue.suspects import Suspicion
from tests.worker.harness import BRISK, Gate, House, nothing

HELD = replace(BRISK, suspect=0.02, suspect_hold=60.0)


async def crash(house: House, starts: int) -> None:
    """Workers that die with everything they have claimed."""
    for number in range(starts):
        doomed = SqliteQueue(house.database)
        await doomed.register(f"doomed{number}")
        assert await doomed.claim(10, lease=3600.0, worker=f"doomed{number}", reserve=8)
        await doomed.close()  # its lock is gone, as if the process were
        await house.engine.recover()


async def test_jobs_whose_workers_died_begin_one_after_the_other(house: House) -> None:
    gate = Gate()
    ids = await house.put(None, None)
    await crash(house, 2)
    async with house.working(gate, concurrency=4, timings=HELD):
        await gate.holds(1)
        gate.open.set()
        await house.until_done(*ids)
    assert gate.most == 1


async def test_a_suspect_holds_the_others_back_for_its_first_seconds_only(house: House) -> None:
    gate = Gate()
    await house.put(None, None, None)
    await crash(house, 2)
    async with house.working(gate, concurrency=4, timings=replace(HELD, suspect_hold=0.05)):
        await gate.holds(3)
        gate.open.set()


async def test_suspects_that_are_held_back_come_back_one_after_the_other(house: House) -> None:
    gate = Gate()
    _, *behind = await house.put(*[None] * 7, priority=PEOPLE)
    await crash(house, 2)
    async with house.working(gate, concurrency=8, timings=replace(HELD, suspect=1000.0)):
        put_off = [await house.until(job_id, lambda record: record.scheduled) for job_id in behind]
        gate.open.set()
    now = house.database.clock.now()
    assert [round(((record.due_at or 0) - now) / 1e6) for record in put_off] == [1, 2, 3, 4, 5, 6]


async def test_a_job_that_waits_for_another_suspect_is_not_charged_for_it(house: House) -> None:
    gate = Gate()
    ids = await house.put(None, None)
    await crash(house, 2)
    async with house.working(gate, concurrency=4, timings=HELD):
        await gate.holds(1)
        gate.open.set()
        await house.until_done(*ids)
    assert [(await house.record(job_id)).attempt for job_id in ids] == [3, 3]


async def test_jobs_that_never_saw_a_worker_die_are_not_held_up_by_a_suspect(house: House) -> None:
    gate = Gate()
    await house.put(None, priority=PEOPLE)
    await crash(house, 2)
    await house.put(None, None, priority=PEOPLE)
    async with house.working(gate, concurrency=3, timings=HELD):
        await gate.holds(3)
        gate.open.set()


async def test_what_comes_in_waits_for_no_suspect(house: House) -> None:
    gate = Gate()
    await house.put(None, priority=PEOPLE)
    received = await house.receive("in|ann", "in|ben")
    await crash(house, 2)
    async with house.working(gate, intake=nothing, concurrency=2, timings=HELD):
        await gate.holds(1)
        await house.until_done(*received)
        gate.open.set()


async def test_eight_lanes_of_which_one_kills_its_workers_lose_only_that_one(house: House) -> None:
    ids = await put(house, *[(0.05, False)] * 7, (0.0, True))
    assert await lives(house, hold=0.2) == 5
    assert await states(house, ids) == [JobState.DONE] * 7 + [JobState.DEAD]


async def test_what_kills_late_takes_nothing_slow_with_it(house: House) -> None:
    ids = await put(house, *[(0.6, False)] * 3, (0.2, True))
    assert await lives(house, hold=0.08) == 5
    assert await states(house, ids) == [JobState.DONE] * 3 + [JobState.DEAD]


async def put(house: House, *jobs: tuple[float, bool]) -> list[str]:
    payloads = [json.dumps({"seconds": seconds, "kills": kills}) for seconds, kills in jobs]
    new = [NewJob(kind="k", payload=text, ordering_key=f"lane {n}", priority=PEOPLE) for n, text in enumerate(payloads)]
    return [result.job_id for result in await house.engine.enqueue(new, max_attempts=5)]


async def lives(house: House, *, hold: float) -> int:
    """How many real workers died before one had nothing left to do."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.worker.mortal_worker", str(house.database.path), str(hold)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 30.0)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return int(output.split()[-1])


async def states(house: House, ids: list[str]) -> list[JobState]:
    found = {record.id: record.state for record in await house.engine.list(JobFilter())}
    return [found[job_id] for job_id in ids]


# --- The rule itself


def claim(crashes: int, *, priority: int = PEOPLE) -> Claim:
    return Claim("lane", "receipt", (Job("1", INTAKE_KIND, "{}", 1, 5, 0),), priority, crashes)


def test_the_hold_grows_with_the_crashes_of_either_and_is_bounded() -> None:
    suspicion = Suspicion(5.0, longest=60.0)
    holds = Counter[tuple[int, int]]()
    for mine in range(6):
        for other in range(6):
            holds[mine, other] = sum(suspicion.holds_back(claim(mine), [(claim(other), age)]) for age in range(100))
    assert {pair: holds[pair] for pair in ((2, 2), (2, 3), (3, 2), (4, 2), (5, 5))} == {
        (2, 2): 5, (2, 3): 20, (3, 2): 20, (4, 2): 60, (5, 5): 60,
    }  # fmt: skip
    assert all(not held for (mine, other), held in holds.items() if mine < 2 or other < 2)


def test_every_fourth_suspect_that_the_worker_survives_lets_one_more_begin_beside_the_others() -> None:
    suspicion = Suspicion(5.0, longest=60.0)
    beside: list[int] = []
    for _ in range(9):
        beside.append(next(count for count in range(9) if suspicion.holds_back(claim(2), [(claim(2), 0.0)] * count)))
        suspicion.survived(claim(2))
    assert beside == [1, 1, 1, 1, 2, 2, 2, 2, 3]


def test_what_is_no_suspect_proves_nothing_when_it_ends() -> None:
    suspicion = Suspicion(5.0, longest=60.0)
    for _ in range(9):
        suspicion.survived(claim(1))
    assert suspicion.holds_back(claim(2), [(claim(2), 0.0)])


def test_intake_is_never_a_suspect() -> None:
    suspicion = Suspicion(5.0, longest=60.0)
    assert not suspicion.holds_back(claim(9, priority=INTAKE), [(claim(9), 0.0)])
    assert not suspicion.holds_back(claim(9), [(claim(9, priority=INTAKE), 0.0)])
