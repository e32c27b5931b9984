"""Slots that no worker came for, on the real queue: what waits is one job an entry, and it obeys `missed` too."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from convoq.db import Database
from convoq.queue.base import Claim, JobFilter, JobState
from convoq.queue.service import QueueService
from convoq.queue.sqlite.backend import SqliteQueue
from convoq.scheduler.entries import ScheduleEntry, built_in
from convoq.scheduler.progress import SqlProgress
from convoq.scheduler.scheduler import Scheduler
from convoq.settings import QueueSettings
from tests.clock import ManualClock
from tests.scheduler.machine import NOON, every

WEEK = 7 * 86_400


class Shop:
    """A queue and its scheduler on one clock that is turned by hand; workers come when the test says so."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.clock = clock
        self.engine = SqliteQueue(database)
        self.queue = QueueService(self.engine, QueueSettings(visibility_timeout=3600))
        self._progress = SqlProgress(database)

    async def tick_for(self, seconds: int, *entries: ScheduleEntry) -> None:
        """A scheduler runs for so long, and looks once a second or with each of its slots."""
        scheduler = Scheduler(self.queue, entries, self._progress, queue_clock=self.clock, wall_clock=self.clock)
        end = self.clock.now() + seconds * 1000
        while self.clock.now() < end:
            self.clock.advance(max(0.001, min(await scheduler.tick(), (end - self.clock.now()) / 1000)))
        await scheduler.tick()

    async def begin(self) -> list[Claim]:
        """All that a worker that comes now begins."""
        return await self.queue.claim(100, worker="w")

    async def count(self, state: JobState = JobState.READY) -> int:
        return await self.engine.count(JobFilter(states=(state,)))


@pytest.fixture
async def shop(database: Database, clock: ManualClock) -> AsyncIterator[Shop]:
    clock.set(NOON)
    shop = Shop(database, clock)
    yield shop
    await shop.engine.close()


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("missed", ["once", "skip"])
async def test_slots_that_no_worker_came_for_are_one_job(shop: Shop, missed: str, overlap: bool) -> None:
    await shop.tick_for(15 * 60, every(60, missed=missed, overlap=overlap))
    assert await shop.count() == 1
    assert len(await shop.begin()) == 1


async def test_convoqs_own_upkeep_waits_once_too(shop: Shop) -> None:
    await shop.tick_for(3600, *built_in())
    assert await shop.count() == len(built_in())


@pytest.mark.parametrize("overlap", [False, True])
async def test_what_waited_for_longer_than_a_minute_is_not_run_with_skip(shop: Shop, overlap: bool) -> None:
    await shop.tick_for(3600, every(3600, missed="skip", overlap=overlap))
    shop.clock.advance(61)
    assert await shop.begin() == []
    assert await shop.count(JobState.CANCELLED) == 1


async def test_what_waited_is_run_with_once_however_long_ago_it_was_enqueued_last(shop: Shop) -> None:
    await shop.tick_for(3600, every(3600))
    shop.clock.advance(WEEK)
    [claim] = await shop.begin()
    assert claim.kind == "report.send"


async def test_what_waited_for_longer_than_a_week_is_not_run(shop: Shop) -> None:
    await shop.tick_for(3600, every(3600))
    shop.clock.advance(WEEK + 1)
    assert await shop.begin() == []


async def test_a_slot_that_a_scheduler_has_enqueued_late_has_only_the_rest_of_its_time(shop: Shop) -> None:
    entry = every(3600, missed="skip")
    await shop.tick_for(3590, entry)
    shop.clock.advance(50)  # 40 seconds late
    await shop.tick_for(1, entry)
    shop.clock.advance(20)
    assert await shop.begin() == []


async def test_runs_of_an_entry_do_not_overlap_and_the_one_that_waits_is_the_latest(shop: Shop) -> None:
    entry = every(60, missed="skip")
    await shop.tick_for(60, entry)
    [first] = await shop.begin()
    await shop.tick_for(10 * 60, entry)
    assert await shop.begin() == []
    await shop.queue.ack(first)
    [second] = await shop.begin()  # in time for its latest slot
    await shop.queue.ack(second)
    assert await shop.begin() == []


async def test_runs_of_an_entry_that_may_overlap_do(shop: Shop) -> None:
    entry = every(60, overlap=True)
    await shop.tick_for(60, entry)
    first = await shop.begin()
    await shop.tick_for(60, entry)
    second = await shop.begin()
    assert [len(first), len(second)] == [1, 1]


async def test_entries_of_one_kind_do_not_wait_for_each_other(shop: Shop) -> None:
    await shop.tick_for(60, every(60), every(60, name="other"))
    assert len(await shop.begin()) == 2


async def test_a_run_that_waits_for_another_try_is_the_one_that_waits(shop: Shop) -> None:
    entry = every(60, missed="skip")
    await shop.tick_for(60, entry)
    [claim] = await shop.begin()
    await shop.queue.fail(claim, RuntimeError("broken"), claim.jobs)
    await shop.tick_for(10 * 60, entry)
    [again] = await shop.begin()
    assert ([job.id for job in again.jobs], again.jobs[0].attempt) == ([job.id for job in claim.jobs], 2)
    await shop.queue.ack(again)
    assert await shop.begin() == []


async def test_a_changed_payload_reaches_the_run_that_waits(shop: Shop) -> None:
    await shop.tick_for(60, every(60, payload={"version": 1}))
    await shop.tick_for(60, every(60, payload={"version": 2}))
    [claim] = await shop.begin()
    assert claim.jobs[0].payload == '{"version":2}'


async def test_a_run_that_a_person_has_asked_for_runs_however_late(shop: Shop) -> None:
    entry = every(3600, missed="skip")
    await shop.queue.enqueue(entry.job_now())
    await shop.tick_for(3600, entry)
    shop.clock.advance(3000)
    assert len(await shop.begin()) == 1
