"""What the outside does to the file: foreign locks, a failing disk, other processes, another clock."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from convoq.clock import BootClock, since_boot
from convoq.db import Database
from convoq.db import connection as db_connection
from convoq.db.failures import explain
from convoq.errors import DatabaseUnavailable, PlatformUnsupported
from convoq.jobs import NewJob
from convoq.queue.sqlite.backend import SqliteQueue
from tests.clock import ManualClock
from tests.db.notes import notes_in, put
from tests.loop_image import loop_image, needs_loop_devices

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every database that a test opens waits 100 ms for a lock."""
    monkeypatch.setattr(db_connection, "BUSY_TIMEOUT_MS", 100)


@pytest.fixture
def outsider(notes: Database) -> Iterator[sqlite3.Connection]:
    """As somebody's sqlite3 shell, which knows of no gate."""
    with closing(sqlite3.connect(notes.path, isolation_level=None, timeout=0)) as connection:
        yield connection


# --- Foreign locks


async def test_a_foreign_lock_is_unavailable_once_the_timeout_is_over(
    notes: Database, outsider: sqlite3.Connection
) -> None:
    outsider.execute("BEGIN EXCLUSIVE")
    begun = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match="another program holds the database"):
        await notes.write(put("a"))
    assert 0.05 < time.monotonic() - begun < 10


async def test_everybody_in_the_batch_hears_of_a_foreign_lock(notes: Database, outsider: sqlite3.Connection) -> None:
    outsider.execute("BEGIN EXCLUSIVE")
    results = await asyncio.gather(*(notes.write(put(str(n))) for n in range(20)), return_exceptions=True)
    assert {type(result) for result in results} == {DatabaseUnavailable}


async def test_writing_goes_on_when_a_foreign_lock_ends(notes: Database, outsider: sqlite3.Connection) -> None:
    outsider.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DatabaseUnavailable):
        await notes.write(put("lost"))
    outsider.execute("ROLLBACK")
    await notes.write(put("kept"))
    assert await notes_in(notes) == ["kept"]


async def test_reads_go_on_beside_a_foreign_lock(notes: Database, outsider: sqlite3.Connection) -> None:
    await notes.write(put("a"))
    outsider.execute("BEGIN EXCLUSIVE")
    assert await notes_in(notes) == ["a"]


async def test_a_file_that_somebody_holds_cannot_be_opened_just_now(
    notes: Database, outsider: sqlite3.Connection
) -> None:
    await notes.close()
    outsider.execute("PRAGMA locking_mode = EXCLUSIVE")
    outsider.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DatabaseUnavailable, match="another program holds the database"):
        await Database.open(notes.path, clock=notes.clock)


# --- Failing disks


@needs_loop_devices
async def test_a_disk_that_fails_to_read_is_unavailable_and_not_a_damaged_file(tmp_path: Path) -> None:
    with loop_image(tmp_path, "ext4") as image:
        database = await Database.open(image.place / "convoq.db", clock=ManualClock())
        try:
            await database.write(lambda c: c.execute("CREATE TABLE notes (text TEXT UNIQUE) STRICT"))
            assert await notes_in(database) == []
            await database.write(put("a"))
            image.cut()
            for _ in range(2):
                with pytest.raises(DatabaseUnavailable, match="the disk failed: look at the kernel's log"):
                    await notes_in(database)
                with pytest.raises(DatabaseUnavailable, match="the disk failed: look at the kernel's log"):
                    await database.check()
        finally:
            await database.close()


DISK = """
import asyncio, json, resource, sys
from pathlib import Path
from convoq.db import Database
from convoq.errors import DatabaseUnavailable
from tests.clock import ManualClock
from tests.db.notes import notes_in, put
from tests.write_ahead_log import end_of

def allow(size):
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

async def outcome(database, text):
    try:
        await database.write(put(text))
    except DatabaseUnavailable as error:
        return str(error)
    return "written"

async def main(path, ending):
    said = {}
    database = await Database.open(Path(path), clock=ManualClock())
    await database.make_room()
    await database.write(lambda c: c.execute("CREATE TABLE notes (text TEXT UNIQUE) STRICT"))
    await database.write(put("before"))
    first = database._writer._connection
    allow(end_of(Path(path + "-wal").read_bytes()))
    said["on a failing disk"] = await asyncio.gather(*(outcome(database, "x" * 9000 + str(n)) for n in range(3)))
    said["replaced"] = database._writer._connection is not first
    if ending == "recovers":
        allow(resource.RLIM_INFINITY)
        said["afterwards"] = await outcome(database, "after")
        said["notes"] = await notes_in(database)
    elif ending == "unreachable":
        Path(path).parent.rename(Path(path).parent.with_name("away"))
    await database.close()
    said["closed"] = True
    print(json.dumps(said))

asyncio.run(main(*sys.argv[1:]))
"""


async def on_a_failing_disk(directory: Path, ending: str) -> dict[str, object]:
    """What a process went through whose files could not grow for a while."""
    (directory / "data").mkdir()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DISK, str(directory / "data" / "convoq.db"), ending,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await child.communicate()
    assert child.returncode == 0
    result: dict[str, object] = json.loads(said)
    return result


async def test_a_failed_write_costs_its_callers_and_nobody_else(tmp_path: Path) -> None:
    said = await on_a_failing_disk(tmp_path, "recovers")
    failures = said["on a failing disk"]
    assert isinstance(failures, list)
    assert all("the disk failed" in failure for failure in failures)
    assert (said["afterwards"], said["notes"]) == ("written", ["before", "after"])


async def test_the_connection_is_replaced_after_a_failed_write(tmp_path: Path) -> None:
    assert (await on_a_failing_disk(tmp_path, "recovers"))["replaced"]


@pytest.mark.parametrize("ending", ["still failing", "unreachable"])
async def test_closing_succeeds_on_a_disk_that_fails(tmp_path: Path, ending: str) -> None:
    assert (await on_a_failing_disk(tmp_path, ending))["closed"]


# --- Other processes

NEIGHBOUR = """
import asyncio, sys
from pathlib import Path
from convoq.db import Database
from tests.clock import ManualClock
from tests.db.notes import put

async def main(path, name, count):
    async with await Database.open(Path(path), clock=ManualClock()) as database:
        for number in range(int(count)):
            await database.write(put(f"{name}{number}"), durable=number % 2 == 0)
            if number % 50 == 0:
                await database.tidy()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_processes_that_write_at_once_never_see_it_locked(tmp_path: Path, clock: ManualClock) -> None:
    async with await Database.open(tmp_path / "convoq.db", clock=clock) as database:
        await database.write(lambda c: c.execute("CREATE TABLE notes (text TEXT UNIQUE) STRICT"))
        arguments = [sys.executable, "-c", NEIGHBOUR, str(database.path)]
        neighbours = [await asyncio.create_subprocess_exec(*arguments, name, "150", cwd=ROOT) for name in "ab"]
        ended = asyncio.gather(*(neighbour.wait() for neighbour in neighbours))
        written = 0
        while not ended.done():
            await database.write(put(f"c{written}"), durable=False)
            written += 1
        assert await ended == [0, 0]
        assert len(await notes_in(database)) == 300 + written


async def test_a_process_that_dies_inside_a_transaction_frees_the_gate(tmp_path: Path, clock: ManualClock) -> None:
    dying = """if True:
        import asyncio, os, sys
        from pathlib import Path
        from convoq.db import Database
        async def main():
            database = await Database.open(Path(sys.argv[1]))
            await database.write(lambda c: (c.execute("DELETE FROM clock"), os.kill(os.getpid(), 9)))
        asyncio.run(main())
    """
    async with await Database.open(tmp_path / "convoq.db") as database:
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", dying, str(database.path), cwd=ROOT)
        assert await child.wait() == -9
        async with asyncio.timeout(5):
            kept = await database.write(lambda c: c.execute("SELECT count(*) FROM clock").fetchone())
        assert kept == (1,)


# --- The queue's clock


async def anchor_of(path: Path) -> int:
    async with await Database.open(path) as database:
        assert isinstance(database.clock, BootClock)
        return database.clock.anchor


async def test_every_process_of_a_boot_has_the_same_anchor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await anchor_of(tmp_path / "convoq.db")
    monkeypatch.setattr("convoq.clock.time.time_ns", lambda: 4_000_000_000 * 10**9)  # the wall jumps between the two
    assert await anchor_of(tmp_path / "convoq.db") == first


async def test_the_queues_clock_starts_at_the_wall(tmp_path: Path) -> None:
    before = time.time() * 1000
    async with await Database.open(tmp_path / "convoq.db") as database:
        assert before - 1000 < database.clock.now() < time.time() * 1000 + 1000


async def test_a_new_boot_gets_a_new_anchor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await anchor_of(tmp_path / "convoq.db")
    monkeypatch.setattr("convoq.clock.boot_id", lambda: "another boot")
    later = 4_000_000_000_000
    monkeypatch.setattr("convoq.clock.time.time_ns", lambda: later * 10**6)
    assert abs(await anchor_of(tmp_path / "convoq.db") + since_boot() - later) < 2000


async def test_a_boot_with_a_wrong_date_is_not_before_the_newest_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await Database.open(tmp_path / "convoq.db") as database:
        backend = SqliteQueue(database)
        [job] = await backend.enqueue([NewJob(kind="k", payload="{}")], max_attempts=1)
        record = await backend.get(job.job_id)
        await backend.close()
    assert record is not None
    monkeypatch.setattr("convoq.clock.boot_id", lambda: "another boot")
    monkeypatch.setattr("convoq.clock.time.time_ns", lambda: 0)
    async with await Database.open(tmp_path / "convoq.db") as database:
        assert 0 <= database.clock.now() - record.enqueued_at < 5000


def test_an_sqlite_without_fts5_is_named(tmp_path: Path) -> None:
    error = explain(tmp_path, sqlite3.OperationalError("no such module: fts5"))
    assert isinstance(error, PlatformUnsupported)
    assert "use a Python whose SQLite has it" in str(error)
