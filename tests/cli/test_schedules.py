"""`convoq schedules`: when what runs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from convoq.cli.schedules import zoned
from convoq.scheduler.entries import next_runs
from tests.cli.scenes import Place, claim_one
from tests.clock import ManualClock
from tests.scheduler.machine import MADRID, at, cron, every

ENTRY = """
[[schedules]]
name = "morning"
kind = "greet"
cron = "30 2 * * *"
timezone = "Europe/Madrid"
[handlers]
"greet" = "mybot:greet"
"""


def test_the_list_has_convoqs_own_entries_and_the_users(bare: Place, capsys: pytest.CaptureFixture[str]) -> None:
    bare.configure(ENTRY)

    assert bare.run("schedules", "list") == 0

    out = capsys.readouterr().out
    assert "30 2 * * * Europe/Madrid" in out
    assert "process_idle" in out
    assert not bare.database.exists()


def test_the_next_runs_are_a_day_apart_in_the_entrys_zone(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(ENTRY)

    assert place.run("schedules", "next", "morning", "--count", "4", "--json") == 0

    (entry,) = json.loads(capsys.readouterr().out)["schedules"]
    runs = [datetime.fromisoformat(text) for text in entry["next"]]
    days = [(after.date() - before.date()).days for before, after in pairwise(runs)]
    assert days == [1, 1, 1]
    assert all(run.tzinfo is not None for run in runs)


def test_an_entry_that_is_not_there_is_a_failure(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("schedules", "next", "evening") == 1
    assert "there is no schedule 'evening': convoq schedules list" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["next", "run", "pause", "resume"])
def test_a_name_with_a_slip_is_asked_back(command: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(ENTRY)

    assert place.run("schedules", command, "mornin") == 1

    assert "there is no schedule 'mornin': did you mean 'morning'?" in capsys.readouterr().err


def test_the_next_runs_are_shown_in_utc_too(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(ENTRY)

    assert place.run("schedules", "next", "morning", "--count", "1") == 0

    header, row = capsys.readouterr().out.splitlines()
    cells = row.split()
    assert header.split() == ["NAME", "NEXT", "UTC", "IN"]
    offset = {"CET": 1, "CEST": 2}[cells[3]]
    local, utc = datetime.fromisoformat(f"{cells[1]}T{cells[2]}Z"), datetime.fromisoformat(f"{cells[4]}T{cells[5]}")
    assert local - utc == timedelta(hours=offset)


def test_the_doubled_hour_is_told_apart_by_its_zone() -> None:
    entry = cron("30 * * * *", MADRID)
    runs = next_runs(entry, 3, queue_clock=ManualClock(), wall_clock=ManualClock(at("2026-10-25T01:00", MADRID)))
    assert [zoned(entry, run) for run in runs] == [
        "2026-10-25 01:30:00 CEST",
        "2026-10-25 02:30:00 CEST",
        "2026-10-25 02:30:00 CET",
    ]


@pytest.fixture
def local_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine stands in Madrid."""
    monkeypatch.setenv("TZ", MADRID)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("local_zone")
def test_a_period_is_shown_by_this_machines_clock() -> None:
    assert zoned(every(60), datetime(2026, 7, 1, 12, tzinfo=UTC)) == "2026-07-01 14:00:00 CEST"


# --- Running by hand


def jobs_of(place: Place, kind: str = "greet") -> list[Any]:
    return place.execute("SELECT id, state, start_by, lane FROM jobs WHERE kind = ? ORDER BY id", kind)


def test_a_run_by_hand_is_a_job_in_the_lane_of_the_entry_and_says_its_id(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.configure(ENTRY)

    assert place.run("schedules", "run", "morning") == 0

    said = capsys.readouterr()
    assert (said.out, said.err) == ("1\n", "")
    assert jobs_of(place) == [(1, "ready", None, "schedule|morning")]


def test_a_run_by_hand_beside_one_that_waits_is_that_one(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(ENTRY)
    place.run("schedules", "run", "morning")
    capsys.readouterr()

    assert place.run("schedules", "run", "morning") == 0

    said = capsys.readouterr()
    assert said.out == "1\n"
    assert said.err == "A run of morning waited already: job 1 is that one.\n"
    assert len(jobs_of(place)) == 1


def test_a_paused_entry_can_be_run_by_hand(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(ENTRY)
    place.run("schedules", "pause", "morning")

    assert place.run("schedules", "run", "morning") == 0

    assert len(jobs_of(place)) == 1


# --- Pausing


def paused(place: Place, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert place.run("schedules", *arguments) == 0
    return capsys.readouterr().out


def test_a_pause_and_its_end_are_said(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(ENTRY)
    assert paused(place, capsys, "pause", "morning", "--reason", "closed in August") == (
        "morning is paused: nothing of it is enqueued until convoq schedules resume morning\n"
    )
    again = paused(place, capsys, "pause", "morning", "--reason", "other")
    assert again.startswith("morning was paused before: paused since ")
    assert again.endswith(": closed in August\n")
    resumed = paused(place, capsys, "resume", "morning")
    assert resumed.startswith("morning is resumed: next at ")
    assert resumed.endswith(". What passed meanwhile is not made up for\n")
    assert paused(place, capsys, "resume", "morning") == "morning is not paused\n"


def test_a_pause_stands_in_the_list_in_next_and_in_the_status(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(ENTRY)
    place.run("schedules", "pause", "morning", "--reason", "closed in August")
    capsys.readouterr()
    for arguments in (("schedules", "list"), ("schedules", "next"), ("schedules", "next", "morning")):
        assert place.run(*arguments) == 0
        shown = capsys.readouterr()
        [row] = [line for line in shown.out.splitlines() if line.startswith("morning")]
        assert row.endswith("  paused")
        assert re.fullmatch(r"morning: paused since .+: closed in August\n", shown.err)
    assert place.run("schedules", "next", "morning", "--json") == 0
    [entry] = json.loads(capsys.readouterr().out)["schedules"]
    assert (entry["paused"]["reason"], entry["next"]) == ("closed in August", [])
    place.run("status")
    assert "Paused schedules" in (out := capsys.readouterr().out)
    assert "closed in August" in out
    place.run("status", "--json")
    [pause] = json.loads(capsys.readouterr().out)["paused_schedules"]
    assert (pause["name"], pause["reason"]) == ("morning", "closed in August")


def test_a_pause_names_the_run_that_waits_and_the_one_that_goes_on(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.configure(ENTRY)
    place.prepare(lambda database: claim_one(database, cron("0 9 * * *", name="morning", kind="greet").job_now()))
    place.run("schedules", "run", "morning")
    capsys.readouterr()

    assert place.run("schedules", "pause", "morning") == 0

    assert capsys.readouterr().err.splitlines() == [
        "Job 2 of it waits, and will run: convoq jobs cancel 2",
        "Job 1 of it runs, and goes on.",
    ]


def test_the_pause_of_an_entry_that_is_in_no_settings_any_more_is_shown_and_can_be_ended(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.configure(ENTRY)
    place.run("schedules", "pause", "morning")
    place.configure("")
    capsys.readouterr()

    assert place.run("schedules", "list") == 0
    assert capsys.readouterr().err == "morning is paused, and in no settings: convoq schedules resume morning\n"
    assert place.run("schedules", "resume", "morning") == 0
    assert place.run("schedules", "list") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("reason", ["", "two\nlines", 201 * "x"])
def test_a_reason_that_is_none_is_wrong_usage(reason: str, place: Place) -> None:
    assert place.run("schedules", "pause", "morning", "--reason", reason) == 2
