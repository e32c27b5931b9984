"""What is an entry, and when it runs next."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from convoq.errors import ConfigError
from convoq.jobs import UPKEEP
from convoq.scheduler.entries import ScheduleEntry, built_in, entries_from, next_runs
from convoq.settings import ScheduleSettings
from tests.clock import ManualClock
from tests.scheduler.machine import MADRID, NOON, SECOND, at, cron, every


def test_upkeep_runs_in_lanes_of_its_own_behind_everything_else() -> None:
    assert [(entry.name, entry.every, entry.ordering_key, entry.priority) for entry in built_in()] == [
        ("process_idle", 60.0, "process_idle", UPKEEP),
        ("process_expired", 300.0, "process_expired", UPKEEP),
        ("process_handovers", 30.0, "process_handovers", UPKEEP),
        ("wake_threads", 60.0, "wake_threads", UPKEEP),
        ("catch_up", 600.0, "catch_up", UPKEEP),
        ("housekeeping", 3600.0, "housekeeping", UPKEEP),
    ]


def test_settings_add_their_entries_to_the_built_in_ones() -> None:
    schedule = ScheduleSettings(
        name="report", kind="report.send", cron="0 9 * * mon-fri", timezone=MADRID, missed="skip"
    )
    entries = entries_from([schedule])
    assert [entry.name for entry in entries] == [*(entry.name for entry in built_in()), "report"]
    assert entries[-1] == cron("0 9 * * mon-fri", MADRID, missed="skip")


def test_an_entry_from_code_has_the_bounds_of_one_from_the_settings() -> None:
    with pytest.raises(ConfigError) as refused:
        ScheduleEntry(name="report", kind="report.send", every=0.5)
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
