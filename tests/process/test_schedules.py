"""Schedules over the roles as processes: what piles up, what overlaps, what a pause does."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.process.harness import Site
from tests.process.test_hangup import hang_up, started

pytestmark = pytest.mark.process

TICK = '[[schedules]]\nname = "tick"\nkind = "shop.tick"\nevery = 1\n'
HANDLERS = '[handlers]\n"shop.tick" = "shop:tick"\n'
SHOP = """
import asyncio
from pathlib import Path

HERE = Path(__file__).parent

def note(line):
    with (HERE / "runs").open("a") as runs:
        runs.write(line + "\\n")

async def tick(job):
    note(f"begun {job.id}")
    while (HERE / "hold").exists():
        await asyncio.sleep(0.02)  # between two looks at the file
    note(f"ended {job.id}")
"""


def configure(site: Site, *schedules: str) -> None:
    (site.directory / "convoq.toml").write_text("".join([*schedules, HANDLERS]))
    (site.directory / "shop.py").write_text(SHOP)


def slot(site: Site) -> int:
    """Up to where the entry's slots are done; 0 before the first look."""
    found = site.rows("SELECT last_slot FROM schedules WHERE name = 'tick'")
    return int(found[0][0]) if found else 0


def jobs(site: Site) -> list[str]:
    found = site.rows("SELECT state FROM jobs WHERE waiting_key = 'schedule:tick' ORDER BY id")
    return [state for (state,) in found]


def runs(site: Site) -> list[str]:
    file = site.directory / "runs"
    return file.read_text().splitlines() if file.exists() else []


def let_pass(site: Site, seconds: int) -> None:
    """The queue's clock is turned on, while no process runs."""
    with closing(sqlite3.connect(site.database)) as connection, connection:
        connection.execute("UPDATE clock SET anchor = anchor + ?1, seen_at = seen_at + ?1", (seconds * 1000,))


async def slots_pass(site: Site, count: int) -> None:
    await site.until(lambda: slot(site) > 0, "the entry is looked at for the first time")
    before = slot(site)
    await site.until(lambda: slot(site) >= before + count * 1000, f"{count} slots pass")


async def test_slots_that_pass_while_no_worker_runs_are_one_run(site: Site) -> None:
    configure(site, TICK, 'missed = "skip"\n')
    schedule = await started(site, "schedule")
    await slots_pass(site, 2)
    schedule.terminate()
    assert await schedule.ended() == 0
    assert jobs(site) == ["ready"]
    worker = await site.start("work", "--drain")
    assert await worker.ended() == 0
    assert [line.split()[0] for line in runs(site)] == ["begun", "ended"]


async def test_what_waited_too_long_for_a_worker_is_skipped_and_said(site: Site) -> None:
    configure(site, TICK, 'missed = "skip"\n')
    schedule = await started(site, "schedule")
    await site.until(lambda: jobs(site) == ["ready"], "a slot waits")
    schedule.terminate()
    assert await schedule.ended() == 0
    let_pass(site, 90)  # a minute and a half later
    worker = await site.start("work", "--drain")
    assert await worker.ended() == 0
    assert (jobs(site), runs(site)) == (["cancelled"], [])
    assert [event["reason"] for event in worker.events if event["event"] == "job.skipped"] == [
        "no worker began it in time"
    ]


async def test_two_schedulers_enqueue_each_slot_once(site: Site) -> None:
    configure(site, TICK)
    for role in ("schedule", "schedule", "work"):
        await started(site, role)
    await site.until(lambda: len(jobs(site)) >= 4, "four slots have come")
    found = site.rows("SELECT dedup_key, enqueued_at FROM jobs WHERE waiting_key = 'schedule:tick' ORDER BY id")
    assert len({key for key, _ in found}) == len(found)
    assert len(found) <= (found[-1][1] - found[0][1]) / 1000 + 1.9


@pytest.mark.parametrize(("overlap", "most"), [("false", 1), ("true", 2)])
async def test_runs_of_an_entry_overlap_only_if_they_may(site: Site, overlap: str, most: int) -> None:
    configure(site, TICK, f"overlap = {overlap}\n")
    hold = site.directory / "hold"
    hold.touch()
    await started(site, "schedule")
    await started(site, "work")
    await site.until(lambda: len(runs(site)) >= most, "so many runs have begun")
    await slots_pass(site, 2)
    begun = [line.split()[0] for line in runs(site)]
    assert set(begun) == {"begun"}
    assert len(begun) >= most if overlap == "true" else len(begun) == 1
    hold.unlink()
    await site.until(lambda: "ended" in runs(site)[-1], "they end")


async def test_an_entry_that_a_reload_takes_out_and_another_puts_back_does_not_fire_for_the_past(site: Site) -> None:
    daily = TICK.replace("every = 1", "every = 3600")
    configure(site, daily)
    schedule = await started(site, "schedule")
    await site.until(lambda: slot(site) > 0, "the entry is known")
    configure(site)
    hang_up(schedule)
    await site.until(lambda: slot(site) == 0, "it is forgotten")
    schedule.terminate()
    assert await schedule.ended() == 0
    let_pass(site, 7200)  # two slots later
    configure(site, daily)
    await started(site, "schedule")
    await site.until(lambda: slot(site) > 0, "it is known again")
    assert jobs(site) == []


async def say(site: Site, *arguments: str) -> None:
    """A command of `convoq schedules`, done."""
    command = await site.start("schedules", *arguments)
    assert await command.ended() == 0, command.output


async def test_a_pause_holds_over_a_killed_scheduler_until_it_is_ended(site: Site) -> None:
    configure(site, TICK, TICK.replace('"tick"', '"tock"'))
    schedule = await started(site, "schedule")
    await site.until(lambda: slot(site) > 0, "the entry is known")
    await say(site, "pause", "tick")
    await site.until(lambda: any(event["event"] == "schedule.paused" for event in schedule.events), "it is seen")
    schedule.kill()
    await schedule.ended()
    await started(site, "work")
    await site.until(lambda: "ready" not in jobs(site), "what waited has run")
    before = jobs(site)
    schedule = await started(site, "schedule")
    await site.until(lambda: any(event["event"] == "schedule.paused" for event in schedule.events), "it is seen again")
    ticked = len(tocks(site))
    await site.until(lambda: len(tocks(site)) >= ticked + 2, "another entry has two of its slots")
    assert jobs(site) == before
    await say(site, "resume", "tick")
    await site.until(lambda: len(jobs(site)) > len(before), "it ticks again")


def tocks(site: Site) -> list[tuple[int]]:
    return site.rows("SELECT id FROM jobs WHERE waiting_key = 'schedule:tock' AND state = 'done'")
