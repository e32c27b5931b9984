"""Each slot becomes one job, whatever the number of schedulers and restarts."""

from __future__ import annotations

import asyncio
from collections import Counter

import structlog

from convoq.db import Database
from convoq.jobs import PEOPLE, NewJob
from convoq.queue.base import JobFilter
from convoq.queue.service import QueueService
from convoq.queue.sqlite.backend import SqliteQueue
from convoq.scheduler.entries import built_in
from convoq.scheduler.progress import SqlProgress
from convoq.scheduler.scheduler import LONGEST_SLEEP, Scheduler
from convoq.settings import QueueSettings
from tests.clock import ManualClock
from tests.scheduler.machine import MINUTE, NOON, SECOND, Machine, every


async def test_each_slot_becomes_one_job(machine: Machine) -> None:
    await machine.live(machine.scheduler(every(60)), 5 * MINUTE)
    assert machine.queue.slots() == [NOON + n * MINUTE for n in range(1, 6)]


async def test_two_schedulers_enqueue_each_slot_once(machine: Machine) -> None:
    first, second = machine.scheduler(every(60)), machine.scheduler(every(60))
    for _ in range(10):
        await asyncio.gather(first.tick(), second.tick())
        machine.pass_time(MINUTE)
    assert machine.queue.slots() == [NOON + n * MINUTE for n in range(1, 10)]
    assert machine.queue.duplicates == 9


async def test_a_restart_within_a_slot_enqueues_nothing(machine: Machine) -> None:
    await machine.live(machine.scheduler(every(60)), 90 * SECOND)
    await machine.scheduler(every(60)).tick()
    assert machine.queue.slots() == [NOON + MINUTE]
    assert machine.queue.duplicates == 0


async def test_ten_thousand_slots_and_three_restarting_schedulers_double_none() -> None:
    machine = Machine()
    schedulers = [machine.scheduler(every(1)) for _ in range(3)]
    for n in range(10_000):
        machine.pass_time(SECOND)
        if n % 100 == 0:
            schedulers[n // 100 % 3] = machine.scheduler(every(1))
        with structlog.testing.capture_logs():
            await asyncio.gather(*(scheduler.tick() for scheduler in schedulers))
    counted = Counter(machine.queue.slots())
    assert set(counted.values()) == {1}
    assert sorted(counted) == [NOON + n * SECOND for n in range(2, 10_001)]


async def test_a_job_carries_what_the_entry_says() -> None:
    machine = Machine()
    entry = every(60, payload={"to": "Åsa"}, ordering_key="reports", priority=PEOPLE)
    await machine.live(machine.scheduler(entry), MINUTE)
    (job,) = machine.queue.jobs.values()
    assert job == NewJob(
        kind="report.send",
        payload='{"to":"Åsa"}',
        ordering_key="reports",
        dedup_key=f"schedule:report@{NOON + MINUTE}",
        priority=PEOPLE,
        waiting_key="schedule:report",
        start_within=7 * 86_400.0,
    )


async def test_a_tick_asks_to_be_woken_for_the_next_slot_but_within_half_a_minute() -> None:
    machine = Machine()
    scheduler = machine.scheduler(every(60))
    assert await scheduler.tick() == LONGEST_SLEEP
    machine.pass_time(55 * SECOND)
    assert await scheduler.tick() == 5.0


async def test_a_scheduler_without_entries_sleeps() -> None:
    assert await Machine().scheduler().tick() == LONGEST_SLEEP


async def test_the_queue_itself_keeps_each_slot_once(database: Database, clock: ManualClock) -> None:
    engine = SqliteQueue(database)
    queue = QueueService(engine, QueueSettings())
    clock.set(NOON)
    progress = SqlProgress(database)
    schedulers = [Scheduler(queue, built_in(), progress, queue_clock=clock, wall_clock=clock) for _ in range(2)]
    for _ in range(11):
        await asyncio.gather(*(scheduler.tick() for scheduler in schedulers))
        for claim in await engine.claim(9, lease=60, worker="w"):
            await engine.ack(claim)
        clock.advance(60)
    jobs = await engine.list(JobFilter(), limit=100)
    await engine.close()
    assert Counter(job.kind for job in jobs) == {
        "process_idle": 10, "process_handovers": 10, "wake_threads": 10, "process_expired": 2, "catch_up": 1,
    }  # fmt: skip
    assert {(job.kind, job.ordering_key) for job in jobs} == {
        (kind, kind) for kind in ("process_idle", "process_expired", "process_handovers", "wake_threads", "catch_up")
    }
