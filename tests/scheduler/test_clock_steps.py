"""Clocks that are stepped by hand or by NTP."""

from __future__ import annotations

from collections import Counter

from tests.scheduler.town import DAY, HOUR, MINUTE, NOON, Town, cron, every


async def test_a_wall_clock_two_days_ahead_runs_once_and_goes_on_when_it_is_set_right(town: Town) -> None:
    scheduler = town.scheduler(cron("0 * * * *"))
    await town.live(scheduler, HOUR)
    town.step_wall(2 * DAY)
    await town.live(scheduler, 10 * MINUTE)
    assert town.queue.slots() == [NOON + HOUR, NOON + HOUR + 2 * DAY]
    town.step_wall(-2 * DAY)
    await town.live(scheduler, 2 * HOUR)
    assert town.queue.slots()[2:] == [NOON + 2 * HOUR, NOON + 3 * HOUR]


async def test_a_wall_clock_two_days_ahead_runs_nothing_with_skip() -> None:
    town = Town()
    scheduler = town.scheduler(cron("0 * * * *", missed="skip"))
    await town.live(scheduler, HOUR + 10 * MINUTE)
    town.step_wall(2 * DAY)
    await town.live(scheduler, 10 * MINUTE)
    assert town.queue.slots() == [NOON + HOUR]


async def test_a_clock_set_right_while_the_scheduler_was_down_silences_nothing(town: Town) -> None:
    town.step_wall(2 * DAY)
    await town.live(town.scheduler(cron("0 * * * *")), HOUR)
    town.step_wall(-2 * DAY)
    await town.live(town.scheduler(cron("0 * * * *")), HOUR)
    assert town.queue.slots() == [NOON + 2 * DAY + HOUR, NOON + 2 * HOUR]


async def test_a_wall_clock_two_days_back_repeats_no_slot_and_runs_new_ones(town: Town) -> None:
    scheduler = town.scheduler(cron("0 * * * *"))
    await town.live(scheduler, 3 * HOUR)
    town.step_wall(-2 * DAY)
    await town.live(scheduler, 3 * HOUR)
    town.step_wall(2 * DAY)
    await town.live(scheduler, HOUR)
    counted = Counter(town.queue.slots())
    assert set(counted.values()) == {1}
    assert NOON + 3 * HOUR - 2 * DAY + HOUR in counted
    assert NOON + 7 * HOUR in counted


async def test_a_jumping_wall_clock_does_not_move_every(town: Town) -> None:
    scheduler = town.scheduler(every(60))
    for step in (2 * DAY, -4 * DAY, 2 * DAY):
        town.step_wall(step)
        await town.live(scheduler, 2 * MINUTE)
    assert town.queue.slots() == [NOON + n * MINUTE for n in range(1, 7)]


async def test_a_clock_that_slips_back_over_a_slot_repeats_nothing(town: Town) -> None:
    scheduler = town.scheduler(cron("0 13 * * *"))
    await town.live(scheduler, HOUR)
    town.step_wall(-500)
    await town.live(scheduler, MINUTE)
    assert town.queue.slots() == [NOON + HOUR]
