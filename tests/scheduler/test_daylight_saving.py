"""Days on which the clocks change."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoq.scheduler.entries import ScheduleEntry, next_runs
from tests.clock import ManualClock
from tests.scheduler.machine import DAY, HOUR, MADRID, MINUTE, NEW_YORK, Machine, at, cron


async def slots_between(entry: ScheduleEntry, start: int, end: int) -> list[int]:
    machine = Machine(now=start)
    await machine.live(machine.scheduler(entry), end - start)
    return machine.queue.slots()


@pytest.mark.parametrize(("zone", "day"), [(MADRID, "2026-10-25"), (NEW_YORK, "2026-11-01")])
async def test_a_job_in_the_doubled_hour_runs_once_that_day(zone: str, day: str) -> None:
    hour = "02" if zone == MADRID else "01"
    entry = cron(f"30 {hour} * * *", zone)
    slots = await slots_between(entry, at(f"{day}T00:00", zone), at(f"{day}T23:59", zone))
    assert slots == [at(f"{day}T{hour}:30", zone)]


@pytest.mark.parametrize(("zone", "day"), [(MADRID, "2026-03-29"), (NEW_YORK, "2026-03-08")])
async def test_a_job_in_the_skipped_hour_runs_once_at_its_end(zone: str, day: str) -> None:
    slots = await slots_between(cron("30 2 * * *", zone), at(f"{day}T00:00", zone), at(f"{day}T23:59", zone))
    assert slots == [at(f"{day}T03:00", zone)]


@pytest.mark.parametrize(("day", "runs"), [("2026-10-25", 25), ("2026-03-29", 23)])
async def test_an_hourly_job_follows_the_hours_that_really_pass(day: str, runs: int) -> None:
    slots = await slots_between(cron("30 * * * *", MADRID), at(f"{day}T00:00", MADRID), at(f"{day}T23:59", MADRID))
    assert len(slots) == runs
    assert {later - earlier for earlier, later in pairwise(slots)} == {HOUR}


async def test_a_restart_inside_the_doubled_hour_repeats_nothing_and_misses_nothing() -> None:
    entry = cron("30 2 * * *", MADRID)
    machine = Machine(now=at("2026-10-25T02:20", MADRID))
    await machine.scheduler(entry).tick()
    machine.pass_time(55 * MINUTE)  # 02:15 for the second time
    assert machine.wall_clock.now() == at("2026-10-25T02:15(2)", MADRID)
    await machine.live(machine.scheduler(entry), MINUTE)
    await machine.live(machine.scheduler(entry), HOUR)
    assert machine.queue.slots() == [at("2026-10-25T02:30", MADRID)]


async def test_an_entry_that_is_new_in_the_doubled_hour_does_not_fire_for_its_first_half() -> None:
    machine = Machine(now=at("2026-10-25T02:15(2)", MADRID))
    await machine.live(machine.scheduler(cron("30 2 * * *", MADRID)), HOUR)
    assert machine.queue.jobs == {}


async def test_two_times_in_a_skipped_hour_are_one_run() -> None:
    entry = cron("0,30 2 * * *", MADRID)
    runs = next_runs(entry, 2, queue_clock=ManualClock(), wall_clock=ManualClock(at("2026-03-29T00:00", MADRID)))
    assert [run.isoformat() for run in runs] == ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]


EXPRESSIONS = [
    "30 2 * * *",
    "*/20 * * * *",
    "15,45 0-3 * * *",
    "0 */2 * * *",
    "*/30 2 * * *",
    "5 0 * * sun",
    "10 1 1 * *",
]
CHANGES = [
    (MADRID, "2026-03-29T01:00"),
    (MADRID, "2026-10-25T01:00"),
    (NEW_YORK, "2026-03-08T07:00"),
    (NEW_YORK, "2026-11-01T06:00"),
    ("Australia/Lord_Howe", "2026-04-04T15:00"),
    ("Asia/Beirut", "2026-03-28T22:00"),
    ("Asia/Kolkata", "2026-03-28T22:00"),
    ("UTC", "2026-03-29T01:00"),
]


@given(
    expression=st.sampled_from(EXPRESSIONS), change=st.sampled_from(CHANGES), offset=st.integers(-3 * HOUR, 3 * HOUR)
)
def test_cron_counts_the_same_slots_wherever_it_starts(expression: str, change: tuple[str, str], offset: int) -> None:
    zone, changed = change
    times = cron(expression, zone).times
    moment, start = at(changed) + offset, at(changed) - 2 * DAY
    passed = []
    for slot in times.after(start):
        passed.append(slot)
        if slot > moment:
            break
    assert all(earlier < later for earlier, later in pairwise(passed))
    assert next(times.after(moment)) == passed[-1]
    assert times.latest(moment, after=start) == (passed[-2] if len(passed) > 1 else None)
