"""The scheduler: which slots become jobs, on clocks that the tests turn by hand."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from convoq.db import Database
from convoq.errors import ConfigError, DatabaseUnavailable
from convoq.jobs import PEOPLE, UPKEEP, NewJob
from convoq.queue.base import Enqueued, JobFilter
from convoq.queue.service import QueueService
from convoq.queue.sqlite.backend import SqliteQueue
from convoq.scheduler.scheduler import (
    LONGEST_SLEEP,
    Entry,
    Ledger,
    Scheduler,
    SqlLedger,
    built_in,
    entries_from,
    next_runs,
)
from convoq.settings import QueueSettings, ScheduleSettings
from tests.clock import ManualClock

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000


def at(text: str, zone: str = "UTC") -> int:
    """A moment in ms; fold=1 is written as a trailing "(2)"."""
    moment = datetime.fromisoformat(text.removesuffix("(2)")).replace(tzinfo=ZoneInfo(zone))
    return int(moment.replace(fold=int(text.endswith("(2)"))).timestamp() * 1000)


NOON = at("2026-03-10T12:00")


class MemoryQueue:
    """Keeps what was enqueued, each dedup key once. Refuses while `broken`."""

    def __init__(self) -> None:
        self.jobs: dict[str, NewJob] = {}
        self.duplicates = 0
        self.broken: Callable[[NewJob], bool] = lambda _: False

    async def enqueue(self, job: NewJob) -> Enqueued:
        await asyncio.sleep(0)
        if self.broken(job):
            raise DatabaseUnavailable("the disk is full")
        assert job.dedup_key is not None
        duplicate = job.dedup_key in self.jobs
        self.duplicates += duplicate
        self.jobs.setdefault(job.dedup_key, job)
        return Enqueued(job.dedup_key, duplicate)

    def slots(self, name: str = "report") -> list[int]:
        """The slots of an entry in the order they were enqueued."""
        return [int(key.rpartition("@")[2]) for key in self.jobs if key.startswith(f"schedule:{name}@")]


class MemoryLedger:
    def __init__(self) -> None:
        self.rows: dict[str, tuple[str, int]] = {}

    async def last(self, name: str) -> tuple[str, int] | None:
        return self.rows.get(name)

    async def record(self, name: str, spec: str, slot: int) -> None:
        self.rows[name] = (spec, slot)


class Town:
    """One machine: a queue, a ledger and both clocks, on which schedulers start and stop."""

    def __init__(self, ledger: Ledger | None = None, now: int = NOON) -> None:
        self.queue = MemoryQueue()
        self.ledger = ledger or MemoryLedger()
        self.queue_clock = ManualClock(now)
        self.wall_clock = ManualClock(now)

    def scheduler(self, *entries: Entry) -> Scheduler:
        return Scheduler(self.queue, entries, self.ledger, queue_clock=self.queue_clock, wall_clock=self.wall_clock)

    def pass_time(self, ms: int) -> None:
        self.queue_clock.advance(ms / 1000)
        self.wall_clock.advance(ms / 1000)

    def step_wall(self, ms: int) -> None:
        self.wall_clock.advance(ms / 1000)

    async def live(self, scheduler: Scheduler, ms: int) -> None:
        """Lets `ms` pass as run() would see them, waking when tick() asked to be woken."""
        end = self.queue_clock.now() + ms
        while self.queue_clock.now() < end:
            wait = await scheduler.tick()
            self.pass_time(min(max(1, round(wait * 1000)), end - self.queue_clock.now()))
        await scheduler.tick()


def every(seconds: float = 60, **changes: Any) -> Entry:
    return Entry(**{"name": "report", "kind": "report.send", "every": seconds, **changes})


def cron(expression: str, timezone: str = "UTC", **changes: Any) -> Entry:
    return Entry(**{"name": "report", "kind": "report.send", "cron": expression, "timezone": timezone, **changes})


@pytest.fixture(params=["memory", "sql"])
async def town(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Town]:
    if request.param == "memory":
        yield Town()
        return
    async with await Database.open(tmp_path / "convoq.db") as database:
        yield Town(SqlLedger(database))


# Slots -------------------------------------------------------------------------------------------------------------


async def test_each_slot_becomes_one_job(town: Town) -> None:
    await town.live(town.scheduler(every(60)), 5 * MINUTE)
    assert town.queue.slots() == [NOON + n * MINUTE for n in range(1, 6)]


async def test_two_schedulers_enqueue_each_slot_once(town: Town) -> None:
    first, second = town.scheduler(every(60)), town.scheduler(every(60))
    for _ in range(10):
        await asyncio.gather(first.tick(), second.tick())
        town.pass_time(MINUTE)
    assert town.queue.slots() == [NOON + n * MINUTE for n in range(1, 10)]
    assert town.queue.duplicates == 9


async def test_a_restart_within_a_slot_enqueues_nothing(town: Town) -> None:
    await town.live(town.scheduler(every(60)), 90 * SECOND)
    await town.scheduler(every(60)).tick()
    assert town.queue.slots() == [NOON + MINUTE]
    assert town.queue.duplicates == 0


async def test_ten_thousand_slots_and_three_restarting_schedulers_double_none() -> None:
    town = Town()
    schedulers = [town.scheduler(every(1)) for _ in range(3)]
    for n in range(10_000):
        town.pass_time(SECOND)
        if n % 100 == 0:
            schedulers[n // 100 % 3] = town.scheduler(every(1))
        with structlog.testing.capture_logs():
            await asyncio.gather(*(scheduler.tick() for scheduler in schedulers))
    counted = Counter(town.queue.slots())
    assert set(counted.values()) == {1}
    assert sorted(counted) == [NOON + n * SECOND for n in range(2, 10_001)]


async def test_a_job_carries_what_the_entry_says() -> None:
    town = Town()
    entry = every(60, payload={"to": "Åsa"}, ordering_key="reports", priority=PEOPLE)
    await town.live(town.scheduler(entry), MINUTE)
    (job,) = town.queue.jobs.values()
    assert job == NewJob(
        kind="report.send",
        payload='{"to":"Åsa"}',
        ordering_key="reports",
        dedup_key=f"schedule:report@{NOON + MINUTE}",
        priority=PEOPLE,
    )


async def test_a_tick_asks_to_be_woken_for_the_next_slot_but_within_half_a_minute() -> None:
    town = Town()
    scheduler = town.scheduler(every(60))
    assert await scheduler.tick() == LONGEST_SLEEP
    town.pass_time(55 * SECOND)
    assert await scheduler.tick() == 5.0


async def test_a_scheduler_without_entries_sleeps() -> None:
    assert await Town().scheduler().tick() == LONGEST_SLEEP


async def test_the_queue_itself_keeps_each_slot_once(database: Database, clock: ManualClock) -> None:
    engine = SqliteQueue(database)
    queue = QueueService(engine, QueueSettings())
    clock.set(NOON)
    ledger = SqlLedger(database)
    schedulers = [Scheduler(queue, built_in(), ledger, queue_clock=clock, wall_clock=clock) for _ in range(2)]
    for _ in range(11):
        await asyncio.gather(*(scheduler.tick() for scheduler in schedulers))
        clock.advance(60)
    jobs = await engine.list(JobFilter(), limit=100)
    await engine.close()
    assert Counter(job.kind for job in jobs) == {"process_idle": 10, "process_expired": 2}
    assert {(job.kind, job.ordering_key) for job in jobs} == {
        (kind, kind) for kind in ("process_idle", "process_expired")
    }


# What was missed ---------------------------------------------------------------------------------------------------


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
async def test_after_downtime_once_runs_only_the_latest_missed_slot(town: Town, entry: Entry) -> None:
    await town.live(town.scheduler(entry), HOUR)
    town.pass_time(50 * HOUR + 10 * MINUTE)
    await town.live(town.scheduler(entry), MINUTE)
    assert town.queue.slots() == [NOON + HOUR, NOON + 51 * HOUR]


@pytest.mark.parametrize("entry", [every(3600, missed="skip"), cron("0 * * * *", missed="skip")], ids=["every", "cron"])
async def test_after_downtime_skip_runs_no_missed_slot(town: Town, entry: Entry) -> None:
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
async def test_a_changed_spec_counts_as_a_new_entry(town: Town, changed: Entry) -> None:
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


# Clocks that jump --------------------------------------------------------------------------------------------------


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


# When the hour changes -----------------------------------------------------------------------------------------------

MADRID, NEW_YORK = "Europe/Madrid", "America/New_York"


async def slots_between(entry: Entry, start: int, end: int) -> list[int]:
    town = Town(now=start)
    await town.live(town.scheduler(entry), end - start)
    return town.queue.slots()


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
    town = Town(now=at("2026-10-25T02:20", MADRID))
    await town.scheduler(entry).tick()
    town.pass_time(55 * MINUTE)  # 02:15 for the second time
    assert town.wall_clock.now() == at("2026-10-25T02:15(2)", MADRID)
    await town.live(town.scheduler(entry), MINUTE)
    await town.live(town.scheduler(entry), HOUR)
    assert town.queue.slots() == [at("2026-10-25T02:30", MADRID)]


async def test_an_entry_that_is_new_in_the_doubled_hour_does_not_fire_for_its_first_half() -> None:
    town = Town(now=at("2026-10-25T02:15(2)", MADRID))
    await town.live(town.scheduler(cron("30 2 * * *", MADRID)), HOUR)
    assert town.queue.jobs == {}


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


# A database that cannot be written -----------------------------------------------------------------------------------


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


async def test_a_ledger_that_cannot_be_read_yet_is_asked_again(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "convoq.db")
    await database.close()
    town = Town(SqlLedger(database))
    assert await town.scheduler(every(60)).tick() == 0.25


async def test_a_crash_between_enqueue_and_record_repeats_nothing() -> None:
    class LosesRecords(MemoryLedger):
        async def record(self, name: str, spec: str, slot: int) -> None:
            if not self.rows:
                await super().record(name, spec, slot)
            else:
                raise RuntimeError("killed here")

    ledger = LosesRecords()
    town = Town(ledger)
    await town.scheduler(every(60)).tick()
    town.pass_time(MINUTE)
    with pytest.raises(RuntimeError, match="killed here"):
        await town.scheduler(every(60)).tick()
    town.ledger = MemoryLedger()
    town.ledger.rows = dict(ledger.rows)
    await town.scheduler(every(60)).tick()
    assert town.queue.slots() == [NOON + MINUTE]
    assert town.queue.duplicates == 1


# Running -------------------------------------------------------------------------------------------------------------


async def test_run_enqueues_until_it_is_told_to_stop() -> None:
    town = Town(now=NOON + MINUTE - 20)
    stopping, enqueued = asyncio.Event(), asyncio.Event()
    clock = RealClock(town.queue_clock.now())

    class Watched(MemoryQueue):
        async def enqueue(self, job: NewJob) -> Enqueued:
            enqueued.set()
            return await super().enqueue(job)

    queue = Watched()
    running = asyncio.create_task(
        Scheduler(queue, [every(60)], MemoryLedger(), queue_clock=clock, wall_clock=clock).run(stopping)
    )
    await asyncio.wait_for(enqueued.wait(), 5)
    stopping.set()
    await asyncio.wait_for(running, 1)
    assert queue.slots() == [NOON + MINUTE]


class RealClock:
    """Starts at a given moment and runs with the event loop."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.began = asyncio.get_running_loop().time()

    def now(self) -> int:
        return self.start + int((asyncio.get_running_loop().time() - self.began) * 1000)


async def test_an_unexpected_error_ends_the_run() -> None:
    class Broken(MemoryLedger):
        async def last(self, name: str) -> tuple[str, int] | None:
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        await Town(Broken()).scheduler(every(60)).run(asyncio.Event())


async def test_an_enqueued_slot_is_said_and_a_duplicate_only_whispered() -> None:
    town = Town()
    first, second = town.scheduler(every(60)), town.scheduler(every(60))
    await asyncio.gather(first.tick(), second.tick())
    town.pass_time(MINUTE)
    with structlog.testing.capture_logs() as logs:
        await asyncio.gather(first.tick(), second.tick())
    assert [(line["event"], line["log_level"], line["duplicate"]) for line in logs] == [
        ("schedule.enqueued", "info", False),
        ("schedule.enqueued", "debug", True),
    ]
    assert logs[0]["name"] == "report"
    assert logs[0]["slot"] == "2026-03-10T12:01:00+00:00"


# Anything at all -----------------------------------------------------------------------------------------------------

STEPS = st.one_of(
    st.tuples(st.just("pass"), st.integers(1, 3 * HOUR)),
    st.tuples(st.just("step the wall"), st.integers(-2 * DAY, 2 * DAY)),
    st.tuples(st.just("restart"), st.integers(0, 1)),
    st.tuples(st.just("down"), st.integers(1, 3 * DAY)),
    st.tuples(st.just("break"), st.booleans()),
)


@given(steps=st.lists(STEPS, max_size=25), missed=st.sampled_from(["once", "skip"]))
def test_whatever_happens_only_true_slots_run_and_the_next_one_is_never_lost(
    steps: Iterable[tuple[str, int]], missed: str
) -> None:
    asyncio.run(_survive(steps, missed))


async def _survive(steps: Iterable[tuple[str, int]], missed: str) -> None:
    town = Town()
    entries = [every(600, name="period", missed=missed), cron("*/10 * * * *", MADRID, missed=missed)]
    schedulers = [town.scheduler(*entries), town.scheduler(*entries)]
    for step, amount in steps:
        if step == "pass":
            town.pass_time(amount)
        elif step == "step the wall":
            town.step_wall(amount)
        elif step == "restart":
            schedulers[amount] = town.scheduler(*entries)
        elif step == "down":
            town.pass_time(amount)
            schedulers = [town.scheduler(*entries), town.scheduler(*entries)]
        else:
            town.queue.broken = (lambda _: True) if amount else (lambda _: False)
        for scheduler in schedulers:
            await scheduler.tick()
    town.queue.broken = lambda _: False
    for scheduler in schedulers:
        await town.live(scheduler, SECOND)
    before = len(town.queue.slots("period"))
    await town.live(schedulers[0], 10 * MINUTE)
    assert all(slot % (10 * MINUTE) == 0 for name in ("period", "report") for slot in town.queue.slots(name))
    assert len(town.queue.slots("period")) == before + 1
    assert town.wall_clock.now() // (10 * MINUTE) * (10 * MINUTE) in town.queue.slots("report")


# Entries -------------------------------------------------------------------------------------------------------------


def test_upkeep_runs_in_lanes_of_its_own_behind_everything_else() -> None:
    assert [(entry.name, entry.every, entry.ordering_key, entry.priority) for entry in built_in()] == [
        ("process_idle", 60.0, "process_idle", UPKEEP),
        ("process_expired", 300.0, "process_expired", UPKEEP),
        ("housekeeping", 3600.0, "housekeeping", UPKEEP),
    ]


def test_settings_add_their_entries_to_the_built_in_ones() -> None:
    schedule = ScheduleSettings(
        name="report", kind="report.send", cron="0 9 * * mon-fri", timezone=MADRID, missed="skip"
    )
    entries = entries_from([schedule])
    assert [entry.name for entry in entries] == ["process_idle", "process_expired", "housekeeping", "report"]
    assert entries[-1] == cron("0 9 * * mon-fri", MADRID, missed="skip")


def test_an_entry_from_code_has_the_bounds_of_one_from_the_settings() -> None:
    with pytest.raises(ConfigError) as refused:
        Entry(name="report", kind="report.send", every=0.5)
    says = 'schedule "report": every = 0.5 is out of range: give 1 second to 366 days, or use cron'
    assert str(refused.value) == says


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"cron": "61 * * * *"}, 'bad cron "61 * * * *": bad minute'),
        ({"cron": "0 9 * *"}, 'bad cron "0 9 * *": five fields: minute hour day month weekday'),
        ({"cron": "* * * * * *"}, 'bad cron "* * * * * *": five fields: minute hour day month weekday'),
        ({"cron": "0 0 30 2 *"}, 'bad cron "0 0 30 2 *": bad day-of-month'),
        ({"cron": ""}, 'bad cron "": five fields: minute hour day month weekday'),
        (
            {"cron": "0 9 * * *", "timezone": "europe/madird"},
            'unknown timezone "europe/madird"; did you mean Europe/Madrid?',
        ),
        (
            {"cron": "0 9 * * *", "timezone": "../etc/passwd"},
            'unknown timezone "../etc/passwd"; write it like "Europe/Madrid"',
        ),
        ({"cron": "0 9 * * *", "timezone": "Europe"}, 'unknown timezone "Europe"'),
        ({"every": 60, "cron": "0 9 * * *"}, "give either every (seconds) or cron (five fields)"),
        ({}, "give either every (seconds) or cron (five fields)"),
        (
            {"every": 60, "kind": "send_message", "payload": {"our_address": "+1", "body": 5}},
            "bad payload for send_message: address: field required; body: input should be a valid string",
        ),
    ],
)
def test_an_entry_that_cannot_work_is_one_line_that_names_it(wrong: dict[str, Any], says: str) -> None:
    schedule = ScheduleSettings.model_validate({"name": "report", "kind": "report.send", **wrong})
    with pytest.raises(ConfigError) as caught:
        entries_from([schedule])
    line = str(caught.value)
    assert line.startswith(f'schedule "report": {says}')
    assert "\n" not in line
    assert caught.value.exit_code == 78


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["report", "report"], 'schedule "report": there are two of that name; rename one'),
        (["process_idle"], 'schedule "process_idle": the name is taken by convoq itself; choose another'),
    ],
)
def test_a_name_is_given_once(names: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        entries_from([ScheduleSettings(name=name, kind="report.send", every=60) for name in names])
    assert str(caught.value) == says


def test_next_runs_are_told_in_the_entrys_zone() -> None:
    runs = next_runs(
        cron("0 9 * * mon-fri", MADRID),
        3,
        queue_clock=ManualClock(NOON),
        wall_clock=ManualClock(at("2026-03-27T12:00")),
    )
    assert [run.isoformat() for run in runs] == [
        "2026-03-30T09:00:00+02:00",
        "2026-03-31T09:00:00+02:00",
        "2026-04-01T09:00:00+02:00",
    ]


def test_next_runs_of_a_period_are_told_as_the_wall_clock_will_show_them() -> None:
    runs = next_runs(every(60), 2, queue_clock=ManualClock(NOON), wall_clock=ManualClock(NOON + 5 * SECOND))
    assert runs == [datetime(2026, 3, 10, 12, n, 5, tzinfo=UTC) for n in (1, 2)]
