"""`convoq db`: creating, checking and copying the file."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from convoq.db import Database, migrations
from convoq.db.migrations import Migration, known
from convoq.monitoring.processes import Processes
from tests.cli.scenes import ANA, OURS, Place, announce, bury, enqueue, inbound_job, job, receive


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


NEWEST = known()[-1].version


def test_migrate_creates_the_database_and_says_its_schema(bare: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert bare.run("db", "migrate") == 0
    assert bare.run("db", "migrate") == 0

    assert (
        capsys.readouterr().out == f"{bare.database}: schema {NEWEST}, new\n{bare.database}: schema {NEWEST} already\n"
    )
    assert mode(bare.database) == 0o600


def test_a_newer_schema_is_refused_with_78(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.execute("PRAGMA user_version = 99")

    for arguments in (["db", "migrate"], ["db", "check"], ["status"]):
        assert place.run(*arguments) == 78
        assert "schema 99" in capsys.readouterr().err


def test_a_database_in_use_is_sound(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: receive(database, "Hello", sid=1, reply="Hi"))
    place.prepare(lambda database: receive(database, "And now?", sid=2))
    place.prepare(lambda database: enqueue(database, [inbound_job("later", 3), job(delay=60)]))
    place.prepare(lambda database: bury(database, [job()]))

    assert place.run("db", "check") == 0
    assert capsys.readouterr().out == f"{place.database}: sound\n"


BROKEN: dict[str, Callable[[Place], object]] = {
    "1 ready job without a lane": lambda place: place.execute("DELETE FROM lanes"),
    "2 finished jobs without the time": lambda place: place.execute(
        "UPDATE jobs SET state = 'dead', finished_at = NULL"
    ),
    "1 lane half claimed": lambda place: place.execute("UPDATE lanes SET receipt = 'r'"),
    "1 message of a person waits": lambda place: place.execute("UPDATE jobs SET state = 'done', finished_at = 1"),
}


@pytest.mark.parametrize("words", BROKEN)
def test_what_no_worker_will_ever_reach_is_found(words: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: receive(database, "Hello"))
    BROKEN[words](place)

    assert place.run("db", "check") == 1
    assert words in capsys.readouterr().err
    assert place.run("db", "check", "--json") == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_a_reference_to_nothing_is_found(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(place.database) as connection:
        connection.execute(
            "INSERT INTO messages"
            " (thread_id, conversation_id, direction, author, source, body, description, at, wall_at)"
            " VALUES (1, 77, 'out', 'ai', 's', '', '', 0, 0)"
        )
    connection.close()

    assert place.run("db", "check") == 1
    assert "of messages refers to a row of conversations that is gone" in capsys.readouterr().err


def test_a_damaged_file_is_refused_with_a_word_on_what_to_do(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: enqueue(database, [job(number=n) for n in range(500)]))
    content = bytearray(place.database.read_bytes())
    content[8192:40960] = bytes(32768)
    place.database.write_bytes(content)

    assert place.run("db", "check") == 78
    assert "restore a backup" in capsys.readouterr().err


def test_a_backup_is_one_private_file_with_everything_in_it(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: receive(database, "Hello", reply="Hi"))
    copy = place.directory / "copies" / "convoq.db"
    copy.parent.mkdir()

    assert place.run("db", "backup", str(copy)) == 0

    assert capsys.readouterr().out == f"{copy}\n"
    assert mode(copy) == 0o600
    assert [path.name for path in copy.parent.iterdir()] == ["convoq.db"]
    with sqlite3.connect(copy) as connection:
        assert connection.execute("SELECT body FROM messages ORDER BY id").fetchall() == [("Hello",), ("Hi",)]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()


def test_a_backup_can_be_put_in_place_and_used(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: receive(database, "Hello", reply="Hi"))
    place.run("db", "backup", "copy.db")
    place.database.unlink()
    Path("copy.db").rename(place.database)
    capsys.readouterr()

    assert place.run("conversations", "show", "1", "--raw") == 0
    assert capsys.readouterr().out == "Hello\nHi\n"
    assert place.run("db", "check") == 0


def test_a_backup_beside_the_log_of_the_old_database_is_refused(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run("db", "backup", "copy.db")
    log = place.directory / "convoq.db-wal"

    async def keep_log(database: Database) -> bytes:
        await enqueue(database, [job("later")])
        return log.read_bytes()

    left = place.prepare(keep_log)
    (place.directory / "copy.db").replace(place.database)
    log.write_bytes(left)
    capsys.readouterr()

    assert place.run("db", "migrate") == 78
    assert capsys.readouterr().err == (
        f"convoq: {place.database}: convoq.db-wal beside it is the log of another database file and would undo what "
        "was restored: move convoq.db-wal and convoq.db-shm away, then start again\n"
    )
    log.unlink()
    assert place.run("db", "migrate") == 0
    assert place.execute("SELECT count(*) FROM jobs WHERE kind = 'later'") == [(0,)]


def test_into_a_directory_a_backup_is_named_after_the_time(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    copies = place.directory / "copies"
    copies.mkdir()

    assert place.run("db", "backup", str(copies), "--json") == 0

    made = Path(json.loads(capsys.readouterr().out)["path"])
    assert list(copies.iterdir()) == [made]
    assert made.name.startswith("convoq-20")


def test_a_backup_says_which_processes_still_write(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: announce(database, "serve", "work"))
    place.prepare(lambda database: Processes(database).announce("schedule-1", "schedule", "fine"))
    place.execute("UPDATE processes SET seen_at = seen_at - 60000 WHERE role = 'schedule'")

    assert place.run("db", "backup", "copy.db") == 0
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"still writing to the database: serve (pid {os.getpid()} on " in said
    assert "work (pid" in said
    assert "schedule" not in said

    assert place.run("db", "backup", "other.db", "--json") == 0
    assert [one["role"] for one in json.loads(capsys.readouterr().out)["still_writing"]] == ["serve", "work"]


def test_where_a_backup_is_restored_no_process_of_the_original_is_missed(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(announce)
    assert place.run("db", "backup", "copy.db") == 0
    with closing(sqlite3.connect(place.directory / "copy.db")) as copy:
        assert copy.execute("SELECT count(*) FROM processes").fetchone() == (0,)


def test_a_backup_of_a_stopped_convoq_is_the_last_word(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("db", "backup", "copy.db") == 0
    assert "writing" not in capsys.readouterr().err


def test_nothing_is_overwritten(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    Path("copy.db").write_text("precious")
    Path("dangling.db").symlink_to("nowhere")

    for name in ("copy.db", "dangling.db", str(place.database)):
        assert place.run("db", "backup", name) == 1
        assert "is there already" in capsys.readouterr().err
    assert Path("copy.db").read_text() == "precious"


def test_a_backup_into_a_directory_that_is_missing_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("db", "backup", f"{place.directory}/copies/") == 1
    assert (
        capsys.readouterr().err == f"convoq: {place.directory}/copies/: there is no such directory: create it first\n"
    )
    assert not (place.directory / "copies").exists()


def test_a_backup_into_nowhere_is_one_line(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("db", "backup", "no/such/place.db") == 1
    assert capsys.readouterr().err == "convoq: no/such/place.db: No such file or directory\n"


def test_a_copy_that_does_not_pass_its_check_gets_no_name(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from convoq.db import backup as copying

    contents = copying._contents
    monkeypatch.setattr(
        copying, "_contents", lambda connection: contents(connection)._replace(rows={"jobs": id(connection)})
    )

    assert place.run("db", "backup", "copy.db") == 1
    assert "the copy is not sound" in capsys.readouterr().err
    assert not [path for path in place.directory.iterdir() if "copy" in path.name]


def test_a_backup_beside_a_busy_writer_is_one_moment(place: Place) -> None:
    """Each enqueue adds a job and its lane in one transaction: a copy never has one without the other."""
    done = threading.Event()

    def write() -> None:
        connection = sqlite3.connect(place.database, timeout=10, isolation_level=None)
        connection.execute("PRAGMA synchronous = OFF")
        number = 0
        while not done.is_set():
            number += 1
            lane = f"{OURS}|{ANA}|{number}"
            connection.execute("BEGIN IMMEDIATE")
            added = connection.execute("INSERT INTO lanes (lane, priority, due_at) VALUES (?, 1, 0)", (lane,))
            connection.execute(
                "INSERT INTO jobs (lane_id, lane, kind, payload, priority, max_attempts, enqueued_at)"
                " VALUES (?, ?, 'k', ?, 1, 8, 0)",
                (added.lastrowid, lane, "x" * 2000),
            )
            connection.execute("COMMIT")
        connection.close()

    place.prepare(lambda database: enqueue(database, [job(number=n) for n in range(2000)]))
    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert [place.run("db", "backup", f"copy{n}.db") for n in range(3)] == [0, 0, 0]
    finally:
        done.set()
        writer.join()
    for number in range(3):
        copied = sqlite3.connect(f"copy{number}.db")
        (alone,) = copied.execute(
            "SELECT count(*) FROM jobs AS j WHERE NOT EXISTS (SELECT 1 FROM lanes AS l WHERE l.lane = j.lane)"
        ).fetchone()
        copied.close()
        assert alone == 0


def test_migrate_begins_anew_where_only_a_run_directory_is_left(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run("status")  # which leaves one
    place.database.unlink()
    assert place.run("status") == 78
    assert "convoq.db: is missing, but convoq.db.run beside it shows that there was one" in capsys.readouterr().err
    assert place.run("db", "migrate") == 0
    assert capsys.readouterr().out == f"{place.database}: schema {NEWEST}, new\n"


def test_migrate_keeps_every_row_of_a_populated_file_that_is_older(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: receive(database, "Hello", sid=1, reply="Hi"))
    place.prepare(lambda database: enqueue(database, [job(number=n) for n in range(500)]))
    counted = "SELECT (SELECT count(*) FROM jobs), (SELECT count(*) FROM messages)"
    before = place.execute(counted)
    more = Migration(NEWEST + 1, "more.sql", "CREATE TABLE more AS SELECT * FROM jobs;\nUPDATE jobs SET attempt = 7;\n")
    monkeypatch.setattr(migrations, "known", lambda: [*known(), more])

    assert place.run("db", "migrate") == 0
    assert capsys.readouterr().out == f"{place.database}: schema {NEWEST + 1}, was {NEWEST}\n"
    assert place.execute(counted) == before
    assert place.execute("SELECT count(*) FROM more") == [(before[0][0],)]
