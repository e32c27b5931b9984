"""Jobs whose workers died run one at a time, because one of them may be the cause."""

from __future__ import annotations

from dataclasses import replace

from convoq.jobs import PEOPLE
from convoq.queue.sqlite.backend import SqliteQueue
from tests.worker.harness import BRISK, Gate, House


async def crash(house: House, starts: int) -> None:
    """Workers that die with everything they have claimed."""
    for number in range(starts):
        doomed = SqliteQueue(house.database)
        await doomed.register(f"doomed{number}")
        assert await doomed.claim(10, lease=3600.0, worker=f"doomed{number}")
        await doomed.close()  # its lock is gone, as if the process were
        await house.engine.recover()


async def test_jobs_whose_workers_died_run_one_at_a_time(house: House) -> None:
    gate = Gate()
    ids = await house.put(None, None, None)
    await crash(house, 2)
    async with house.working(gate, concurrency=3, timings=replace(BRISK, suspect=0.02)):
        await gate.holds(1)
        gate.open.set()
        await house.until_done(*ids)
    assert gate.most == 1


async def test_a_job_that_waits_for_another_suspect_is_not_charged_for_it(house: House) -> None:
    gate = Gate()
    ids = await house.put(None, None)
    await crash(house, 2)
    async with house.working(gate, concurrency=2, timings=replace(BRISK, suspect=0.02)):
        await gate.holds(1)
        gate.open.set()
        await house.until_done(*ids)
    assert [(await house.record(job_id)).attempt for job_id in ids] == [3, 3]


async def test_jobs_that_never_saw_a_worker_die_are_not_held_up_by_a_suspect(house: House) -> None:
    gate = Gate()
    await house.put(None, priority=PEOPLE)
    await crash(house, 2)
    await house.put(None, None, priority=PEOPLE)
    async with house.working(gate, concurrency=3):
        await gate.holds(3)
        gate.open.set()
