"""A queue or a progress that cannot be written just now."""

from __future__ import annotations

from pathlib import Path

import pytest

from convoq.db import Database
from convoq.scheduler.progress import SqlProgress
from tests.scheduler.town import HOUR, MINUTE, NOON, SECOND, MemoryProgress, Town, cron, every


async def test_a_failing_enqueue_is_retried_and_the_slot_is_not_skipped(town: Town) -> None:
    scheduler = town.scheduler(cron("0 13 * * *", missed="skip"))
    await town.live(scheduler, HOUR - SECOND)
    town.queue.broken = lambda _: True
    await town.live(scheduler, 20 * MINUTE)
    town.queue.broken = lambda _: False
    await town.live(scheduler, MINUTE)
    assert town.queue.slots() == [NOON + HOUR]


async def test_retries_back_off_to_a_few_seconds() -> None:
    town = Town()
    town.queue.broken = lambda _: True
    scheduler = town.scheduler(every(60))
    await scheduler.tick()
    town.pass_time(MINUTE)
    assert [await scheduler.tick() for _ in range(7)] == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    town.queue.broken = lambda _: False
    await scheduler.tick()
    town.queue.broken = lambda _: True
    town.pass_time(MINUTE)
    assert await scheduler.tick() == 0.25


async def test_an_outage_over_many_slots_ends_with_the_first_and_the_latest() -> None:
    town = Town()
    scheduler = town.scheduler(every(60))
    await scheduler.tick()
    town.queue.broken = lambda _: True
    await town.live(scheduler, 10 * MINUTE + SECOND)
    town.queue.broken = lambda _: False
    await town.live(scheduler, 10 * SECOND)
    assert town.queue.slots() == [NOON + MINUTE, NOON + 10 * MINUTE]


async def test_one_failing_entry_does_not_hold_up_the_others() -> None:
    town = Town()
    town.queue.broken = lambda job: job.kind == "report.send"
    scheduler = town.scheduler(every(60), every(60, name="other", kind="other"))
    await town.live(scheduler, 2 * MINUTE)
    assert town.queue.slots("report") == []
    assert len(town.queue.slots("other")) == 2


async def test_a_progress_that_cannot_be_read_yet_is_asked_again(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "convoq.db")
    await database.close()
    town = Town(SqlProgress(database))
    assert await town.scheduler(every(60)).tick() == 0.25


async def test_a_crash_between_enqueue_and_record_repeats_nothing() -> None:
    class LosesRecords(MemoryProgress):
        async def record(self, name: str, spec: str, slot: int) -> None:
            if not self.rows:
                await super().record(name, spec, slot)
            else:
                raise RuntimeError("killed here")

    progress = LosesRecords()
    town = Town(progress)
    await town.scheduler(every(60)).tick()
    town.pass_time(MINUTE)
    with pytest.raises(RuntimeError, match="killed here"):
        await town.scheduler(every(60)).tick()
    town.progress = MemoryProgress()
    town.progress.rows = dict(progress.rows)
    await town.scheduler(every(60)).tick()
    assert town.queue.slots() == [NOON + MINUTE]
    assert town.queue.duplicates == 1
