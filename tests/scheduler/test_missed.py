"""Slots that passed while no scheduler ran."""

from __future__ import annotations

import pytest
import structlog

from convoq.scheduler.entries import ScheduleEntry
from tests.scheduler.town import DAY, HOUR, MINUTE, NOON, SECOND, Town, cron, every


async def test_a_new_entry_never_fires_for_the_past(town: Town) -> None:
    town.pass_time(30 * SECOND)
    await town.scheduler(every(3600), cron("30 11 * * *", name="daily")).tick()
    assert town.queue.jobs == {}


async def test_a_new_entry_that_was_down_for_its_first_slot_catches_up(town: Town) -> None:
    await town.scheduler(cron("0 13 * * *")).tick()
    town.pass_time(2 * HOUR)
    await town.scheduler(cron("0 13 * * *")).tick()
    assert town.queue.slots() == [NOON + HOUR]


@pytest.mark.parametrize("entry", [every(3600), cron("0 * * * *")], ids=["every", "cron"])
async def test_after_downtime_once_runs_only_the_latest_missed_slot(town: Town, entry: ScheduleEntry) -> None:
    await town.live(town.scheduler(entry), HOUR)
    town.pass_time(50 * HOUR + 10 * MINUTE)
    await town.live(town.scheduler(entry), MINUTE)
    assert town.queue.slots() == [NOON + HOUR, NOON + 51 * HOUR]


@pytest.mark.parametrize("entry", [every(3600, missed="skip"), cron("0 * * * *", missed="skip")], ids=["every", "cron"])
async def test_after_downtime_skip_runs_no_missed_slot(town: Town, entry: ScheduleEntry) -> None:
    await town.live(town.scheduler(entry), HOUR)
    town.pass_time(50 * HOUR + 10 * MINUTE)
    await town.live(town.scheduler(entry), HOUR)
    assert town.queue.slots() == [NOON + HOUR, NOON + 52 * HOUR]


async def test_a_slot_that_passed_during_a_quick_restart_is_not_missed(town: Town) -> None:
    entry = cron("0 13 * * *", missed="skip")
    await town.live(town.scheduler(entry), HOUR - 2 * SECOND)
    town.pass_time(5 * SECOND)
    await town.scheduler(entry).tick()
    assert town.queue.slots() == [NOON + HOUR]


async def test_a_slot_missed_more_than_a_week_ago_is_dropped_and_said() -> None:
    town = Town()
    entry = cron("0 13 11 * *")
    await town.scheduler(entry).tick()
    town.pass_time(10 * DAY)
    with structlog.testing.capture_logs() as logs:
        await town.scheduler(entry).tick()
    assert town.queue.jobs == {}
    (missed,) = [line for line in logs if line["event"] == "schedule.missed"]
    assert (missed["log_level"], missed["first"], missed["runs"]) == ("warning", "2026-03-11T13:00:00+00:00", None)


async def test_missed_slots_are_said_with_the_one_that_runs_for_them() -> None:
    town = Town()
    await town.scheduler(every(3600)).tick()
    town.pass_time(5 * HOUR)
    with structlog.testing.capture_logs() as logs:
        await town.scheduler(every(3600)).tick()
    assert [line["event"] for line in logs] == ["schedule.missed", "schedule.enqueued"]
    assert (logs[0]["first"], logs[0]["runs"]) == ("2026-03-10T13:00:00+00:00", "2026-03-10T17:00:00+00:00")


async def test_what_was_skipped_is_said_once(town: Town) -> None:
    entry = cron("0 * * * *", missed="skip")
    await town.scheduler(entry).tick()
    town.pass_time(5 * HOUR + 10 * MINUTE)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await town.scheduler(entry).tick()
    assert [line["event"] for line in logs] == ["schedule.missed"]


@pytest.mark.parametrize("changed", [every(1800), cron("*/30 * * * *")], ids=["period", "kind"])
async def test_a_changed_spec_counts_as_a_new_entry(town: Town, changed: ScheduleEntry) -> None:
    await town.live(town.scheduler(every(3600)), HOUR)
    town.pass_time(40 * MINUTE)
    scheduler = town.scheduler(changed)
    await scheduler.tick()
    assert town.queue.slots() == [NOON + HOUR]
    await town.live(scheduler, 20 * MINUTE)
    assert town.queue.slots() == [NOON + HOUR, NOON + 2 * HOUR]


async def test_a_changed_zone_counts_as_a_new_entry() -> None:
    town = Town()
    await town.scheduler(cron("0 13 * * *")).tick()
    town.pass_time(3 * HOUR)
    await town.scheduler(cron("0 13 * * *", "Europe/London")).tick()
    assert town.queue.jobs == {}
