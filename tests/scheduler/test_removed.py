"""Entries that are taken out of the settings and put back, and entries that are paused and resumed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import structlog

from convoq.scheduler.entries import ScheduleEntry
from convoq.scheduler.scheduler import Scheduler
from tests.scheduler.machine import HOUR, MINUTE, NOON, SECOND, Machine, cron, every

ENTRIES = pytest.mark.parametrize("entry", [every(3600), cron("0 * * * *")], ids=["every", "cron"])


def now_of(machine: Machine, entry: ScheduleEntry) -> int:
    return (machine.queue_clock if entry.cron is None else machine.wall_clock).now()


async def pause(machine: Machine) -> None:
    await machine.progress.pause("report", reason=None)


async def resume(machine: Machine, entry: ScheduleEntry) -> None:
    await machine.progress.resume("report", entry.times.spec, now_of(machine, entry))


async def restarted(machine: Machine, scheduler: Scheduler, *entries: ScheduleEntry) -> Scheduler:
    return machine.scheduler(*entries)


async def reloaded(machine: Machine, scheduler: Scheduler, *entries: ScheduleEntry) -> Scheduler:
    scheduler.replace(entries)
    return scheduler


Change = Callable[..., Awaitable[Scheduler]]


@ENTRIES
@pytest.mark.parametrize("change", [restarted, reloaded])
async def test_an_entry_that_was_taken_out_and_put_back_never_fires_for_the_past(
    machine: Machine, entry: ScheduleEntry, change: Change
) -> None:
    scheduler = machine.scheduler(entry)
    await machine.live(scheduler, HOUR)
    scheduler = await change(machine, scheduler)
    await machine.live(scheduler, 5 * HOUR + 10 * MINUTE)
    scheduler = await change(machine, scheduler, entry)
    await machine.live(scheduler, HOUR)
    assert machine.queue.slots() == [NOON + HOUR, NOON + 7 * HOUR]


async def test_taking_out_one_entry_leaves_the_progress_of_another(machine: Machine) -> None:
    other = every(3600, name="other")
    await machine.live(machine.scheduler(every(3600), other), HOUR)
    await machine.scheduler(other).tick()
    machine.pass_time(2 * HOUR)
    await machine.scheduler(other).tick()
    assert machine.queue.slots("other") == [NOON + HOUR, NOON + 3 * HOUR]


@ENTRIES
async def test_a_paused_entry_enqueues_nothing_and_makes_up_for_nothing(machine: Machine, entry: ScheduleEntry) -> None:
    scheduler = machine.scheduler(entry)
    await machine.live(scheduler, HOUR)
    await pause(machine)
    await machine.live(scheduler, 3 * HOUR + 10 * MINUTE)
    assert machine.queue.slots() == [NOON + HOUR]
    await resume(machine, entry)
    await machine.live(scheduler, HOUR)
    assert machine.queue.slots() == [NOON + HOUR, NOON + 5 * HOUR]


@ENTRIES
async def test_a_pause_outlives_the_scheduler_and_what_passed_before_its_end_is_not_missed(
    machine: Machine, entry: ScheduleEntry
) -> None:
    await machine.live(machine.scheduler(entry), HOUR)
    await pause(machine)
    machine.pass_time(2 * HOUR)
    await machine.live(machine.scheduler(entry), 10 * MINUTE)
    machine.pass_time(HOUR)
    await resume(machine, entry)
    await machine.live(machine.scheduler(entry), HOUR)
    assert machine.queue.slots() == [NOON + HOUR, NOON + 5 * HOUR]


async def test_a_pause_outlives_its_entry(machine: Machine) -> None:
    await pause(machine)
    await machine.scheduler().tick()
    await machine.live(machine.scheduler(every(60)), 5 * MINUTE)
    assert machine.queue.slots() == []


async def test_an_entry_that_is_resumed_right_before_its_slot_runs_on_time(machine: Machine) -> None:
    entry = every(3600)
    scheduler = machine.scheduler(entry)
    await pause(machine)
    await machine.live(scheduler, HOUR - 2 * SECOND)
    wait = await scheduler.tick()
    await resume(machine, entry)
    machine.pass_time(round(wait * 1000))
    await scheduler.tick()
    assert (wait, machine.queue.slots()) == (2.0, [NOON + HOUR])


async def test_an_entry_that_was_paused_and_resumed_between_two_looks_goes_on(machine: Machine) -> None:
    entry = every(3600)
    scheduler = machine.scheduler(entry)
    await scheduler.tick()
    await pause(machine)
    await resume(machine, entry)
    await machine.live(scheduler, HOUR)
    assert machine.queue.slots() == [NOON + HOUR]


async def test_pausing_one_entry_leaves_the_others_running(machine: Machine) -> None:
    scheduler = machine.scheduler(every(60), every(60, name="other"))
    await pause(machine)
    await machine.live(scheduler, 3 * MINUTE)
    assert (machine.queue.slots(), len(machine.queue.slots("other"))) == ([], 3)


async def test_a_pause_and_its_end_are_said_once(machine: Machine) -> None:
    entry = every(60)
    scheduler = machine.scheduler(entry)
    await scheduler.tick()
    with structlog.testing.capture_logs() as logs:
        await pause(machine)
        await machine.live(scheduler, 3 * MINUTE)
        await resume(machine, entry)
        await machine.live(scheduler, 30 * SECOND)
    assert [(line["event"], line["names"]) for line in logs] == [
        ("schedule.paused", ["report"]),
        ("schedule.resumed", ["report"]),
    ]
