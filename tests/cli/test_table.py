"""Tables in a narrow terminal: what tells people apart stays to be seen."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios

import pytest

from convoq.cli.terminal import table
from tests.cli.scenes import ANA, Place, bury, inbound_job, receive

NAME = "Anastasia Fernandez de la Vega"
BEN = "whatsapp:+34600000002"


def in_terminal(place: Place, columns: int, *arguments: str) -> list[str]:
    """The lines that the command prints on a terminal of that width."""
    ours, theirs = pty.openpty()
    try:
        termios.tcsetwinsize(theirs, (24, columns))
        environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        command = [sys.executable, "-m", "convoq", "--config", str(place.config), *arguments]
        subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=theirs, env=environ | {"NO_COLOR": "1"}, check=True, timeout=30
        )
        return os.read(ours, 65536).decode().splitlines()
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.process
@pytest.mark.parametrize("full", [[], ["--full"]])
def test_80_columns_show_the_end_of_each_jobs_number(full: list[str], place: Place) -> None:
    error = "a long story of what went wrong with this one, from its beginning to its end"
    jobs = [inbound_job("hello", sid, address=address) for sid, address in ((1, ANA), (2, BEN))]
    place.prepare(lambda database: bury(database, jobs, error=error))

    _, ben, ana = in_terminal(place, 80, "jobs", "list", *full)

    assert "0002 " in ben
    assert "0001 " in ana
    assert max(map(len, (ana, ben))) <= 80


@pytest.mark.process
def test_80_columns_show_the_end_of_each_persons_number(place: Place) -> None:
    place.prepare(lambda database: receive(database, 20 * "long ", sid=1, name=NAME))

    _, ana = in_terminal(place, 80, "conversations", "list")

    assert "0001 " in ana


TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


@pytest.mark.process
@pytest.mark.parametrize(
    "command",
    ["schedules list", "schedules next", "operators list", "audit", "conversations pauses", f"contacts show {ANA}"],
)
def test_80_columns_show_each_time_whole(command: str, place: Place) -> None:
    place.prepare(lambda database: receive(database, "hello", sid=1))
    assert place.run("operators", "add", NAME) == 0
    pausing = ["conversations", "pause", "--all", "--as", NAME]
    for act in (pausing, ["schedules", "pause", "process_idle"]):
        assert place.run(*act, "--reason", (9 * "closed in August ").strip()) == 0

    shown = in_terminal(place, 80, *command.split())

    header = next(number for number, line in enumerate(shown) if line.isupper())
    rows = shown[header + 1 : header + 1 + sum(bool(re.search(TIME, line)) for line in shown)]
    assert rows
    assert all(re.search(rf"{TIME}|\bpaused$", row) for row in rows)
    assert max(map(len, rows)) <= 80


@pytest.mark.parametrize("wide", range(3, 21))
def test_a_text_shortened_in_the_middle_fits_and_keeps_its_end(wide: int) -> None:
    shown = table.shorten_middle("whatsapp:+1555***0001", wide)

    assert table.cell_width(shown) == wide
    assert shown.endswith("0001"[-(wide // 2) :])
    assert "…" in shown


def test_wide_characters_count_twice_when_the_middle_goes() -> None:
    assert table.cell_width(table.shorten_middle("漢字漢字漢字漢字", 9)) <= 9
