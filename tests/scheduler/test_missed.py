"""Slots that passed while no scheduler ran."""

from __future__ import annotations

import pytest
import structlog

from convoq.scheduler.entries import ScheduleEntry
from tests.scheduler.machine import DAY, HOUR, MINUTE, NOON, SECOND, Machine, cron, every


async def test_a_new_entry_never_fires_for_the_past(machine: Machine) -> None:
    machine.pass_time(30 * SECOND)
    await machine.scheduler(every(3600), cron("30 11 * * *", name="daily")).tick()
    assert machine.queue.jobs == {}


async def test_a_new_entry_that_was_down_for_its_first_slot_catches_up(machine: Machine) -> None:
    await machine.scheduler(cron("0 13 * * *")).tick()
    machine.pass_time(2 * HOUR)
    await machine.scheduler(cron("0 13 * * *")).tick()
    assert machine.queue.slots() == [NOON + HOUR]


@pytest.mark.parametrize("entry", [every(3600), cron("0 * * * *")], ids=["every", "cron"])
async def test_after_downtime_once_runs_only_the_latest_missed_slot(machine: Machine, entry: ScheduleEntry) -> None:
    await machine.live(machine.scheduler(entry), HOUR)
    machine.pass_time(50 * HOUR + 10 * MINUTE)
    await machine.live(machine.scheduler(entry), MINUTE)
    assert machine.queue.slots() == [NOON + HOUR, NOON + 51 * HOUR]


@pytest.mark.parametrize("entry", [every(3600, missed="skip"), cron("0 * * * *", missed="skip")], ids=["every", "cron"])
async def test_after_downtime_skip_runs_no_missed_slot(machine: Machine, entry: ScheduleEntry) -> None:
    await machine.live(machine.scheduler(entry), HOUR)
    machine.pass_time(50 * HOUR + 10 * MINUTE)
    await machine.live(machine.scheduler(entry), HOUR)
    assert machine.queue.slots() == [NOON + HOUR, NOON + 52 * HOUR]


async def test_a_slot_that_passed_during_a_quick_restart_is_not_missed(machine: Machine) -> None:
    entry = cron("0 13 * * *", missed="skip")
    await machine.live(machine.scheduler(entry), HOUR - 2 * SECOND)
    machine.pass_time(5 * SECOND)
    await machine.scheduler(entry).tick()
    assert machine.queue.slots() == [NOON + HOUR]


async def test_a_slot_missed_more_than_a_week_ago_is_dropped_and_said() -> None:
    machine = Machine()
    entry = cron("0 13 11 * *")
    await machine.scheduler(entry).tick()
    machine.pass_time(10 * DAY)
    with structlog.testing.capture_logs() as logs:
        await machine.scheduler(entry).tick()
    assert machine.queue.jobs == {}
    (missed,) = [line for line in logs if line["event"] == "schedule.missed"]
    assert (missed["log_level"], missed["first"], missed["runs"]) == ("warning", "2026-03-11T13:00:00+00:00", None)


async def test_missed_slots_are_said_with_the_one_that_runs_for_them() -> None:
    machine = Machine()
    await machine.scheduler(every(3600)).tick()
    machine.pass_time(5 * HOUR)
    with structlog.testing.capture_logs() as logs:
        await machine.scheduler(every(3600)).tick()
    assert [line["event"] for line in logs] == ["schedule.missed", "schedule.enqueued"]
    assert (logs[0]["first"], logs[0]["runs"]) == ("2026-03-10T13:00:00+00:00", "2026-03-10T17:00:00+00:00")


async def test_what_was_skipped_is_said_once(machine: Machine) -> None:
    entry = cron("0 * * * *", missed="skip")
    await machine.scheduler(entry).tick()
    machine.pass_time(5 * HOUR + 10 * MINUTE)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await machine.scheduler(entry).tick()
    assert [line["event"] for line in logs] == ["schedule.missed"]


@pytest.mark.parametrize("changed", [every(1800), cron("*/30 * * * *")], ids=["period", "kind"])
async def test_a_changed_spec_counts_as_a_new_entry(machine: Machine, changed: ScheduleEntry) -> None:
    await machine.live(machine.scheduler(every(3600)), HOUR)
    machine.pass_time(40 * MINUTE)
    scheduler = machine.scheduler(changed)
    await scheduler.tick()
    assert machine.queue.slots() == [NOON + HOUR]
    await machine.live(scheduler, 20 * MINUTE)
    assert machine.queue.slots() == [NOON + HOUR, NOON + 2 * HOUR]


async def test_a_changed_zone_counts_as_a_new_entry() -> None:
    machine = Machine()
    await machine.scheduler(cron("0 13 * * *")).tick()
    machine.pass_time(3 * HOUR)
    await machine.scheduler(cron("0 13 * * *", "Europe/London")).tick()
    assert machine.queue.jobs == {}
