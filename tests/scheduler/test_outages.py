"""A queue or a progress that cannot be written just now."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog

from convoq.db import Database
from convoq.scheduler.progress import SqlProgress
from tests.scheduler.machine import HOUR, MINUTE, NOON, SECOND, Machine, MemoryProgress, cron, every


@pytest.mark.parametrize(("missed", "outage"), [("once", 20 * MINUTE), ("skip", 50 * SECOND)])
async def test_a_failing_enqueue_is_retried_and_the_slot_is_not_skipped(
    machine: Machine, missed: str, outage: int
) -> None:
    scheduler = machine.scheduler(cron("0 13 * * *", missed=missed))
    await machine.live(scheduler, HOUR - SECOND)
    machine.queue.broken = lambda _: True
    await machine.live(scheduler, outage)
    machine.queue.broken = lambda _: False
    await machine.live(scheduler, MINUTE)
    assert machine.queue.slots() == [NOON + HOUR]


async def test_a_slot_that_an_outage_has_made_late_is_skipped_and_said(machine: Machine) -> None:
    scheduler = machine.scheduler(cron("0 13 * * *", missed="skip"))
    await machine.live(scheduler, HOUR - SECOND)
    machine.queue.broken = lambda _: True
    with structlog.testing.capture_logs() as logs:
        await machine.live(scheduler, 20 * MINUTE)
        machine.queue.broken = lambda _: False
        await machine.live(scheduler, MINUTE)
    assert machine.queue.slots() == []
    [missed] = [line for line in logs if line["event"] == "schedule.missed"]
    assert (missed["first"], missed["runs"]) == ("2026-03-10T13:00:00+00:00", None)


async def test_retries_back_off_to_a_few_seconds() -> None:
    machine = Machine()
    machine.queue.broken = lambda _: True
    scheduler = machine.scheduler(every(60))
    await scheduler.tick()
    machine.pass_time(MINUTE)
    assert [await scheduler.tick() for _ in range(7)] == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    machine.queue.broken = lambda _: False
    await scheduler.tick()
    machine.queue.broken = lambda _: True
    machine.pass_time(MINUTE)
    assert await scheduler.tick() == 0.25


async def test_an_outage_over_many_slots_ends_with_the_first_and_the_latest() -> None:
    machine = Machine()
    scheduler = machine.scheduler(every(60))
    await scheduler.tick()
    machine.queue.broken = lambda _: True
    await machine.live(scheduler, 10 * MINUTE + SECOND)
    machine.queue.broken = lambda _: False
    await machine.live(scheduler, 10 * SECOND)
    assert machine.queue.slots() == [NOON + MINUTE, NOON + 10 * MINUTE]


async def test_one_failing_entry_does_not_hold_up_the_others() -> None:
    machine = Machine()
    machine.queue.broken = lambda job: job.kind == "report.send"
    scheduler = machine.scheduler(every(60), every(60, name="other", kind="other"))
    await machine.live(scheduler, 2 * MINUTE)
    assert machine.queue.slots("report") == []
    assert len(machine.queue.slots("other")) == 2


async def test_a_progress_that_cannot_be_read_yet_is_asked_again(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "convoq.db")
    await database.close()
    machine = Machine(SqlProgress(database))
    assert await machine.scheduler(every(60)).tick() == 0.25


async def test_a_crash_between_enqueue_and_record_repeats_nothing() -> None:
    class LosesRecords(MemoryProgress):
        async def record(self, name: str, spec: str, slot: int) -> None:
            if not self.rows:
                await super().record(name, spec, slot)
            else:
                raise RuntimeError("killed here")

    progress = LosesRecords()
    machine = Machine(progress)
    await machine.scheduler(every(60)).tick()
    machine.pass_time(MINUTE)
    with pytest.raises(RuntimeError, match="killed here"):
        await machine.scheduler(every(60)).tick()
    machine.progress = MemoryProgress()
    machine.progress.rows = dict(progress.rows)
    await machine.scheduler(every(60)).tick()
    assert machine.queue.slots() == [NOON + MINUTE]
    assert machine.queue.duplicates == 1
