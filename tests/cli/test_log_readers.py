"""A process that reads in the database and does not stop, while others write: who it is, is said wherever one looks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from convoq.db import Database
from convoq.db.log_readers import END_READER, HELD_BY, LARGE_LOG, examine_log
from convoq.jobs import raw_job
from tests.cli.scenes import Place, announce, enqueue, job

MEGABYTE = 1_000_000
READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM jobs").fetchone()
print("reads", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
print("has ended its transaction", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, int]]:
    """A place whose log has grown, and the process that holds it."""
    place = Place(tmp_path_factory.mktemp("held"))
    place.create_database()
    with reader_of(place) as reader:
        place.prepare(write_much)
        yield place, reader.pid
        reader.kill()


def reader_of(place: Place) -> subprocess.Popen[bytes]:
    """A process that has begun to read."""
    command = [sys.executable, "-c", READER, str(place.database)]
    reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert reader.stdout is not None
    assert reader.stdout.readline() == b"reads\n"
    return reader


async def write_much(database: Database) -> None:
    """More than the log may hold without a reader."""
    for number in range(LARGE_LOG // MEGABYTE + 2):
        await enqueue(database, [raw_job("greet", {"text": "x" * MEGABYTE, "number": number})])


def test_status_names_the_process_that_holds_the_log(
    held: tuple[Place, int], capsys: pytest.CaptureFixture[str]
) -> None:
    place, pid = held
    place.prepare(announce)

    assert place.run("status", "--exit-code", "--max-wait", "3600") == 1

    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("problem")]
    assert len(told) == 1
    assert told[0].startswith("problem  the database's log has grown to ")
    assert f" MB: {HELD_BY} process {pid} ({sys.executable} -c " in told[0]
    assert told[0].endswith(f": {END_READER}")


def test_the_json_of_status_has_pid_and_command(held: tuple[Place, int], capsys: pytest.CaptureFixture[str]) -> None:
    place, pid = held
    place.run("status", "--json")
    database = json.loads(capsys.readouterr().out)["database"]
    assert database["log_bytes"] > LARGE_LOG
    assert [reader["pid"] for reader in database["log_readers"]] == [pid]
    assert database["log_readers"][0]["command"].startswith(sys.executable)


def test_the_doctor_names_the_process_that_holds_the_log(
    held: tuple[Place, int], capsys: pytest.CaptureFixture[str]
) -> None:
    place, pid = held
    place.run("doctor", "--offline", "--json")
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert (checks["log"]["level"], checks["log"]["fix"]) == ("warn", END_READER)
    assert f"process {pid} ({sys.executable} -c" in checks["log"]["detail"]


def test_the_log_of_housekeeping_names_the_process_that_holds_the_log(held: tuple[Place, int]) -> None:
    place, pid = held
    with capture_logs() as logged:
        place.prepare(lambda database: database.tidy())
    [event] = [event for event in logged if event["event"] == "database.log_held"]
    assert event["bytes"] > LARGE_LOG
    assert [holder.partition(" (")[0] for holder in event["holders"]] == [f"process {pid}"]


def test_a_reader_that_has_ended_its_transaction_holds_nothing(place: Place) -> None:
    async def look(database: Database) -> list[int]:
        await enqueue(database, [job()])
        return [one.pid for one in (await examine_log(database.path, large=1)).readers]

    with reader_of(place) as reader:
        assert place.prepare(look) == [reader.pid]
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdin.write(b"end it\n")
        reader.stdin.flush()
        assert reader.stdout.readline() == b"has ended its transaction\n"
        assert place.prepare(look) == []
        reader.kill()
