"""`convoq schedules`: when what runs."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import pairwise

import pytest

from tests.cli.scenes import Place

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
    assert "there is no schedule 'evening'" in capsys.readouterr().err
