"""The doctor's checks of the database, against real files in good and bad states."""

from __future__ import annotations

import sqlite3
import subprocess
import threading

import pytest

from convoq.monitoring.processes import Processes
from tests.cli.doctor.harness import findings, whole
from tests.cli.scenes import Place, announce, bury, job


def test_without_a_database_the_doctor_creates_none(bare: Place, capsys: pytest.CaptureFixture[str]) -> None:
    bare.configure(whole())

    found = findings(bare, capsys, code=0)

    assert found["database"]["level"] == "note"
    assert "schema" not in found
    assert [path.name for path in bare.directory.iterdir()] == ["convoq.toml"]


def test_a_file_that_others_can_read_is_a_warning(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())
    place.database.chmod(0o644)

    permissions = findings(place, capsys)["permissions"]

    assert (permissions["level"], permissions["fix"]) == ("warn", f"chmod 600 {place.database}")


def test_a_schema_of_a_newer_convoq_is_a_failure(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())
    place.execute("PRAGMA user_version = 99")

    assert findings(place, capsys, code=1)["opening"]["level"] == "fail"


def test_a_damaged_file_is_a_failure(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())
    place.database.write_bytes(b"not a database, " * 1000)

    assert findings(place, capsys, code=1)["opening"]["level"] == "fail"


def test_a_program_that_holds_the_database_is_found(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())
    place.prepare(announce)
    holder = sqlite3.connect(place.database, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(2.5, holder.execute, ["ROLLBACK"])
    release.start()
    try:
        writing = findings(place, capsys, code=0)["writing"]
    finally:
        release.join()
        holder.close()
    assert writing["level"] == "warn"
    assert "another program holds the database" in writing["detail"]


def test_a_wall_clock_that_was_set_is_a_warning(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())
    place.execute("UPDATE clock SET anchor = anchor - 9000000")

    clocks = findings(place, capsys)["clocks"]

    assert clocks["level"] == "warn"
    assert "2 h forward" in clocks["detail"]


def test_a_silent_role_is_a_failure_as_in_status_and_dead_letters_are_a_warning(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.configure(whole())
    place.prepare(lambda database: Processes(database).announce("w", "work", "fine"))
    place.execute("UPDATE processes SET seen_at = seen_at - 100000")
    place.prepare(lambda database: bury(database, [job()]))

    found = findings(place, capsys, code=1)

    assert (found["work"]["level"], found["work"]["detail"]) == ("fail", "silent for 1 min")
    assert found["dead letters"]["level"] == "warn"
    assert found["dead letters"]["detail"] == "1 job failed for good"


def test_a_killed_role_is_a_failure_as_in_status(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())
    place.prepare(lambda database: Processes(database).announce("w", "work", "fine"))
    with subprocess.Popen(["true"]) as process:
        place.execute("UPDATE processes SET pid = ?", process.pid)

    work = findings(place, capsys, code=1)["work"]

    assert (work["level"], work["detail"]) == ("fail", f"gone: its process {process.pid} was killed or crashed")


def test_a_role_that_does_not_run_beside_others_is_a_failure(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())
    assert findings(place, capsys)["work"]["level"] == "warn"

    place.prepare(lambda database: announce(database, "serve", "schedule"))

    assert findings(place, capsys, code=1)["work"]["detail"] == "not running, while others are"
