"""The queue's clock over boots with a right and a wrong date: what waits keeps its time, and the dates heal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from convoq.clock import Boot
from convoq.db import Database
from convoq.db.anchor import anchor
from convoq.jobs import NewJob
from convoq.monitoring.processes import Processes
from convoq.queue.base import JobFilter
from convoq.queue.sqlite.backend import SqliteQueue
from tests.clock import ManualClock

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
NOW = 1_790_000_000_000  # 2026
WRONG = {"future": NOW + 1500 * DAY, "past": 5 * MINUTE, "a little in the past": NOW - 20 * DAY}


class Machine:
    """Boots with any date; its queue's clock is what the file's anchor makes of it."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database = database
        self.queue = SqliteQueue(database)
        self._clock = clock
        self._boots = 0

    async def boot(self, wall: int, *, age: int = 20_000) -> int:
        """Returns what the queue's clock shows."""
        self._boots += 1
        boot = Boot(id=f"boot {self._boots}", age=age, wall=wall)
        self._clock.set(await self.database.write(anchor, boot) + age)
        return self._clock.now()

    async def run(self, elapsed: int, *, wall: int) -> None:
        """The machine is up for so long; in the end a role announces itself, when the wall clock shows `wall`."""
        self._clock.advance(elapsed / 1000)
        await Processes(self.database).announce("serve-1", "serve", "listening")
        # The row is the trigger's; only the hand that turns the wall clock is ours.
        await self.database.write(lambda tx: tx.execute("UPDATE clock SET wall_at = ?", (wall,)))

    async def put(self, key: str, **options: Any) -> bool:
        """Whether it is new to the queue."""
        job = NewJob(kind="work", payload="{}", dedup_key=key, **options)
        [enqueued] = await self.queue.enqueue([job], max_attempts=3)
        return not enqueued.duplicate

    async def due_in(self) -> float | None:
        return await self.queue.next_due()

    async def is_late(self) -> bool:
        """Whether the one job would be skipped by a worker now; it stays as it is."""
        [claim] = await self.queue.claim(1, lease=60, worker="w")
        await self.queue.nack(claim, delay=0, unrun=True)
        return claim.jobs[0].late

    async def dates(self) -> list[int]:
        return [job.enqueued_at for job in await self.queue.list(JobFilter(), limit=100)]


@pytest.fixture
async def machine(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Machine]:
    async with await Database.open(tmp_path / "convoq.db", clock=clock) as database:
        machine = Machine(database, clock)
        yield machine
        await machine.queue.close()


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_a_boot_with_a_wrong_date_is_over_at_the_next_right_one(wrong: int, machine: Machine) -> None:
    await machine.boot(NOW)
    await machine.run(HOUR, wall=NOW + HOUR)
    await machine.boot(wrong)
    await machine.put("a")
    await machine.run(HOUR, wall=wrong + HOUR)
    assert await machine.boot(NOW + 3 * HOUR) == NOW + 3 * HOUR
    await machine.run(HOUR, wall=NOW + 4 * HOUR)
    assert await machine.boot(NOW + 5 * HOUR) == NOW + 5 * HOUR


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_a_boot_with_a_wrong_date_holds_no_job_back_that_is_due(wrong: int, machine: Machine) -> None:
    await machine.boot(NOW)
    await machine.put("a")
    await machine.run(HOUR, wall=NOW + HOUR)
    await machine.boot(wrong)
    assert await machine.due_in() == 0


@pytest.mark.parametrize("wrong", ["past", "a little in the past"])
async def test_a_delay_goes_on_through_a_boot_in_the_past(wrong: str, machine: Machine) -> None:
    await machine.boot(NOW)
    await machine.put("a", delay=3600)
    await machine.run(20 * MINUTE, wall=NOW + 20 * MINUTE)
    await machine.boot(WRONG[wrong])
    assert await machine.due_in() == 40 * 60
    await machine.run(10 * MINUTE, wall=WRONG[wrong] + 10 * MINUTE)
    assert await machine.due_in() == 30 * 60


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_a_delay_that_began_under_a_wrong_date_goes_on_under_the_right_one(wrong: int, machine: Machine) -> None:
    await machine.boot(wrong)
    await machine.put("a", delay=3600)
    await machine.run(20 * MINUTE, wall=NOW + 20 * MINUTE)  # corrected meanwhile: the queue's clock takes no notice
    assert await machine.due_in() == 40 * 60
    await machine.boot(NOW + 30 * MINUTE)  # ten minutes later
    assert await machine.due_in() == 30 * 60


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("waiting_key", [None, "w"])
async def test_the_time_to_begin_a_job_in_goes_on_after_a_wrong_date(
    wrong: int, waiting_key: str | None, machine: Machine, clock: ManualClock
) -> None:
    await machine.boot(wrong)
    await machine.put("a", start_within=3600, waiting_key=waiting_key)
    await machine.run(20 * MINUTE, wall=NOW + 20 * MINUTE)
    await machine.boot(NOW + 30 * MINUTE)
    clock.advance(29 * 60)
    assert not await machine.is_late()
    clock.advance(2 * 60)
    assert await machine.is_late()


async def test_a_date_that_was_never_corrected_makes_no_job_wait_for_years(machine: Machine) -> None:
    await machine.boot(WRONG["future"])
    await machine.put("a")
    await machine.put("b", delay=3600)
    await machine.run(20 * MINUTE, wall=WRONG["future"] + 20 * MINUTE)
    await machine.boot(NOW)
    assert await machine.due_in() == 0
    assert len(await machine.queue.claim(10, lease=60, worker="w")) == 1
    assert 0 < (await machine.due_in() or 0) <= 40 * 60


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_what_a_wrong_clock_has_dated_gets_its_right_date(wrong: int, machine: Machine) -> None:
    await machine.boot(wrong)
    await machine.put("a")
    await machine.run(20 * MINUTE, wall=NOW + 20 * MINUTE)
    await machine.boot(NOW + 30 * MINUTE)
    [date] = await machine.dates()
    assert abs(date - NOW) <= 1000


async def test_what_a_right_clock_has_dated_keeps_its_date(machine: Machine) -> None:
    await machine.boot(NOW)
    await machine.put("a")
    await machine.run(HOUR, wall=NOW + HOUR)
    await machine.boot(WRONG["past"])
    await machine.run(HOUR, wall=NOW + 3 * HOUR)
    await machine.boot(NOW + 4 * HOUR)
    assert await machine.dates() == [NOW]


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_a_replay_is_known_after_a_wrong_date(wrong: int, machine: Machine) -> None:
    await machine.boot(wrong)
    assert await machine.put("a")
    await machine.run(HOUR, wall=wrong + HOUR)
    await machine.boot(NOW)
    assert not await machine.put("a")


async def test_the_time_that_a_machine_was_down_counts(machine: Machine) -> None:
    await machine.boot(NOW)
    await machine.put("a", delay=3600)
    await machine.run(20 * MINUTE, wall=NOW + 20 * MINUTE)
    await machine.boot(NOW + 50 * MINUTE)
    assert await machine.due_in() == 10 * 60


async def test_a_date_that_was_saved_before_the_reboot_holds_nothing_back(machine: Machine) -> None:
    await machine.boot(NOW)
    await machine.put("a", delay=3600)
    await machine.run(59 * MINUTE, wall=NOW + 59 * MINUTE)
    await machine.boot(NOW + 17 * MINUTE)
    assert await machine.due_in() == 60
    assert await machine.dates() == [NOW]


async def test_a_machine_without_a_battery_heals_with_every_boot_in_the_past(machine: Machine) -> None:
    await machine.boot(0)
    await machine.put("a", delay=3600)
    await machine.run(20 * MINUTE, wall=NOW)  # by NTP
    for boot in range(3):
        assert await machine.boot(0) == NOW + boot * MINUTE
        assert await machine.due_in() == (40 - boot) * 60
        await machine.run(MINUTE, wall=NOW + (boot + 1) * MINUTE)
    assert await machine.dates() == [NOW - 20 * MINUTE]


async def test_boots_that_are_all_in_the_past_go_on_one_after_another(machine: Machine) -> None:
    await machine.boot(NOW)
    await machine.put("a", delay=3600)
    for minute in range(3):
        assert await machine.due_in() == (60 - minute) * 60
        await machine.run(MINUTE, wall=5 * MINUTE)
        await machine.boot(0)
    assert await machine.dates() == [NOW]


async def test_a_file_from_before_both_clocks_were_kept_heals_too(machine: Machine) -> None:
    await machine.boot(WRONG["future"])
    await machine.put("a", delay=3600)
    await machine.database.write(lambda tx: tx.execute("UPDATE clock SET seen_at = NULL, wall_at = NULL"))
    assert await machine.boot(NOW) == NOW
    assert (await machine.due_in() or 0) <= 3600


async def test_an_announcement_keeps_both_clocks(machine: Machine) -> None:
    queue = await machine.boot(NOW)
    await machine.run(HOUR, wall=0)
    await Processes(machine.database).announce("serve-1", "serve", "listening")
    seen, behind = await machine.database.read(
        lambda tx: tx.execute(
            "SELECT seen_at, abs(wall_at - 1000 * CAST(strftime('%s') AS INTEGER)) FROM clock"
        ).fetchone()
    )
    assert seen == queue + HOUR
    assert behind < MINUTE


async def test_every_time_in_the_file_is_corrected(machine: Machine) -> None:
    """A column that a migration adds belongs into the trigger of `clock_corrections`, unless it is the wall clock's."""
    columns = """
        SELECT m.name || '.' || c.name FROM sqlite_schema AS m, pragma_table_info(m.name) AS c
        WHERE m.type = 'table' AND m.name <> 'clock' AND c.name <> 'wall_at'
        AND (c.name = 'at' OR c.name LIKE '%\\_at' ESCAPE '\\' OR c.name LIKE '%\\_until' ESCAPE '\\')
    """
    triggers = "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'clock_corrections'"
    named = await machine.database.read(lambda tx: [row[0] for row in tx.execute(columns)])
    sql = await machine.database.read(lambda tx: "\n".join(row[0] for row in tx.execute(triggers)))
    corrected = {
        f"{table.split()[0]}.{line.split()[0]}"
        for table in sql.split("UPDATE ")[1:]
        for line in table.replace("SET", ",").replace(",\n", ",").split(",")[1:]
        if " = " in line and line.split(" = ")[0].strip().isidentifier()
    }
    assert {*named, "jobs.start_by"} == corrected
    assert len(named) > 20
