"""Clocks that are stepped by hand or by NTP."""

from __future__ import annotations

from collections import Counter

from tests.scheduler.machine import DAY, HOUR, MINUTE, NOON, Machine, cron, every


async def test_a_wall_clock_two_days_ahead_runs_once_and_goes_on_when_it_is_set_right(machine: Machine) -> None:
    scheduler = machine.scheduler(cron("0 * * * *"))
    await machine.live(scheduler, HOUR)
    machine.step_wall(2 * DAY)
    await machine.live(scheduler, 10 * MINUTE)
    assert machine.queue.slots() == [NOON + HOUR, NOON + HOUR + 2 * DAY]
    machine.step_wall(-2 * DAY)
    await machine.live(scheduler, 2 * HOUR)
    assert machine.queue.slots()[2:] == [NOON + 2 * HOUR, NOON + 3 * HOUR]


async def test_a_wall_clock_two_days_ahead_runs_nothing_with_skip() -> None:
    machine = Machine()
    scheduler = machine.scheduler(cron("0 * * * *", missed="skip"))
    await machine.live(scheduler, HOUR + 10 * MINUTE)
    machine.step_wall(2 * DAY)
    await machine.live(scheduler, 10 * MINUTE)
    assert machine.queue.slots() == [NOON + HOUR]


async def test_a_clock_set_right_while_the_scheduler_was_down_silences_nothing(machine: Machine) -> None:
    machine.step_wall(2 * DAY)
    await machine.live(machine.scheduler(cron("0 * * * *")), HOUR)
    machine.step_wall(-2 * DAY)
    await machine.live(machine.scheduler(cron("0 * * * *")), HOUR)
    assert machine.queue.slots() == [NOON + 2 * DAY + HOUR, NOON + 2 * HOUR]


async def test_a_wall_clock_two_days_back_repeats_no_slot_and_runs_new_ones(machine: Machine) -> None:
    scheduler = machine.scheduler(cron("0 * * * *"))
    await machine.live(scheduler, 3 * HOUR)
    machine.step_wall(-2 * DAY)
    await machine.live(scheduler, 3 * HOUR)
    machine.step_wall(2 * DAY)
    await machine.live(scheduler, HOUR)
    counted = Counter(machine.queue.slots())
    assert set(counted.values()) == {1}
    assert NOON + 3 * HOUR - 2 * DAY + HOUR in counted
    assert NOON + 7 * HOUR in counted


async def test_a_jumping_wall_clock_does_not_move_every(machine: Machine) -> None:
    scheduler = machine.scheduler(every(60))
    for step in (2 * DAY, -4 * DAY, 2 * DAY):
        machine.step_wall(step)
        await machine.live(scheduler, 2 * MINUTE)
    assert machine.queue.slots() == [NOON + n * MINUTE for n in range(1, 7)]


async def test_a_clock_that_slips_back_over_a_slot_repeats_nothing(machine: Machine) -> None:
    scheduler = machine.scheduler(cron("0 13 * * *"))
    await machine.live(scheduler, HOUR)
    machine.step_wall(-500)
    await machine.live(scheduler, MINUTE)
    assert machine.queue.slots() == [NOON + HOUR]
