"""Files that are taken away or put in place beside running processes: noticed before a caller hears of its fsync."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from convoq.db import Database
from convoq.db.backup import back_up
from convoq.db.wal import WalGuard
from convoq.errors import DatabaseRefused
from tests.db.notes import ROOT, notes_in, put, running


def in_the_directory(database: Database, name: str) -> Path:
    return database.path.parent / name


def replace(path: Path) -> None:
    """By another file with the same content, as a copy that is moved into place."""
    # By another process: a descriptor that is closed in this one would drop SQLite's locks.
    subprocess.run(["cp", "-r", path, path.with_name("copy")], check=True, timeout=10)
    path.rename(path.with_name("old"))
    path.with_name("copy").rename(path)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


FILES = {
    "convoq.db": "the file was moved, replaced or deleted while convoq was running",
    "convoq.db-wal": "convoq.db-wal: was re(mov|plac)ed while convoq was running",
    "convoq.db.run/gate": "gate: was removed or replaced while convoq was running",
    "convoq.db.run": "gate: was removed or replaced while convoq was running",
}


@pytest.mark.parametrize("harm", [remove, replace])
@pytest.mark.parametrize("name", FILES)
async def test_no_commit_is_acknowledged_after_it(notes: Database, name: str, harm: Callable[[Path], None]) -> None:
    await notes.write(put("before"))
    harm(in_the_directory(notes, name))
    results = await asyncio.gather(*(notes.write(put(str(n))) for n in range(5)), return_exceptions=True)
    assert all(isinstance(result, DatabaseRefused) for result in results)
    with pytest.raises(DatabaseRefused, match=FILES[name]):
        await notes.check()


@pytest.mark.parametrize("name", FILES)
async def test_what_is_not_durable_is_refused_a_moment_after_it_as_well(notes: Database, name: str) -> None:
    await notes.write(put("before"), durable=False)
    remove(in_the_directory(notes, name))

    async def write_on() -> None:
        while True:
            await notes.write(put("late"), durable=False)

    with pytest.raises(DatabaseRefused, match=FILES[name]):
        await write_on()


@pytest.mark.parametrize("name", FILES)
async def test_it_stays_refused_until_the_process_ends(notes: Database, name: str) -> None:
    place = in_the_directory(notes, name)
    place.rename(place.with_name("away"))
    with pytest.raises(DatabaseRefused):
        await notes.write(put("refused"))
    place.with_name("away").rename(place)
    with pytest.raises(DatabaseRefused):
        await notes.write(put("refused as well"))


async def test_what_its_process_acknowledged_before_the_log_was_removed_is_saved(notes: Database) -> None:
    for number in range(50):
        await notes.write(put(str(number)))
    in_the_directory(notes, "convoq.db-wal").unlink()
    with pytest.raises(DatabaseRefused, match="the roles save what they hold of it"):
        await notes.write(put("late"))
    with sqlite3.connect(f"{notes.path.as_uri()}?mode=ro&immutable=1", uri=True) as saved:
        assert saved.execute("SELECT count(*) FROM notes WHERE text != 'late'").fetchone() == (50,)
    saved.close()


async def test_a_process_that_had_nothing_to_write_saves_the_removed_log_when_it_ends(notes: Database) -> None:
    await notes.write(put("kept"))
    in_the_directory(notes, "convoq.db-wal").unlink()
    with pytest.raises(DatabaseRefused, match="was removed while convoq was running"):
        await notes.check()
    await notes.close()
    async with await Database.open(notes.path, clock=notes.clock) as again:
        assert await notes_in(again) == ["kept"]


async def test_no_other_process_begins_a_new_log_while_the_removed_one_is_held(tmp_path: Path) -> None:
    holder = await running(tmp_path / "convoq.db")
    (tmp_path / "convoq.db-wal").unlink()
    with pytest.raises(DatabaseRefused, match=r"convoq\.db-wal, its log, was removed"):
        await Database.open(tmp_path / "convoq.db")
    assert not (tmp_path / "convoq.db-wal").exists()
    holder.kill()
    await holder.wait()


async def test_no_process_joins_the_log_of_others_with_a_copy_of_their_file(tmp_path: Path) -> None:
    holder = await running(tmp_path / "convoq.db")
    replace(tmp_path / "convoq.db")
    with pytest.raises(DatabaseRefused, match=rf"process {holder.pid} \(.*\) still runs on another file"):
        await Database.open(tmp_path / "convoq.db")
    holder.kill()
    await holder.wait()


OVERWRITTEN = """
import asyncio, json, subprocess, sys
from pathlib import Path
from convoq.db import Database
from convoq.errors import DatabaseRefused
from tests.db.notes import put

async def main(path, backup):
    database = await Database.open(Path(path))
    await database.write(put("late"))
    subprocess.run(["cp", backup, path], check=True)
    try:
        await database.write(put("refused"))
    except DatabaseRefused as error:
        print(error)
    await database.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_backup_that_is_copied_over_the_file_is_noticed_and_both_are_left_whole(
    notes: Database, tmp_path: Path
) -> None:
    await notes.write(put("in the backup"))
    backup = (await back_up(notes, tmp_path / "backup.db")).path
    await notes.close()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OVERWRITTEN, str(notes.path), str(backup), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(20):
        said, _ = await child.communicate()
    assert child.returncode == 0
    assert b"the file was overwritten while convoq was running" in said
    assert notes.path.read_bytes() == backup.read_bytes()
    assert in_the_directory(notes, "convoq.db-wal").stat().st_size > 0
    with pytest.raises(DatabaseRefused, match="is the log of another database file"):
        await Database.open(notes.path)


async def test_a_log_that_sqlite_ends_and_begins_anew_is_no_loss(notes: Database) -> None:
    for text in ("a", "b"):
        await notes.write(put(text))
        await notes.tidy()
        await notes.check()
    # The connection is replaced, as after a failed write; the reader still holds the log.
    connection = notes._writer._connection
    assert connection is not None
    await notes._writer._thread.run(lambda _: notes._writer._disconnect(connection))
    await notes.write(put("c"))
    await notes.close()
    async with await Database.open(notes.path, clock=notes.clock) as again:
        await again.write(put("d"))
        assert await notes_in(again) == ["a", "b", "c", "d"]


async def test_processes_that_come_and_go_lose_each_other_no_log(notes: Database) -> None:
    program = """if True:
        import asyncio, sys
        from pathlib import Path
        from convoq.db import Database
        from tests.db.notes import put
        async def main(path, name):
            for number in range(15):
                async with await Database.open(Path(path)) as database:
                    await database.write(put(f"{name}{number}"))
        asyncio.run(main(*sys.argv[1:]))
    """
    children = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(notes.path), name, cwd=ROOT)
        for name in "ab"
    ]
    await notes.close()
    async with asyncio.timeout(30):
        assert [await child.wait() for child in children] == [0, 0]
    async with await Database.open(notes.path) as again:
        assert len(await notes_in(again)) == 30


async def test_another_program_that_looks_into_the_file_in_passing_is_no_loss(notes: Database) -> None:
    await notes.write(put("a"))
    await notes.close()
    program = """if True:
        import sqlite3, sys
        print(flush=True)
        while True:
            connection = sqlite3.connect(sys.argv[1])
            connection.execute("SELECT count(*) FROM notes").fetchall()
            connection.close()
    """
    looking = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(notes.path), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert looking.stdout is not None
        await looking.stdout.readline()
        for _ in range(2000):
            WalGuard(notes.path).end()
    finally:
        looking.kill()
        await looking.communicate()


async def test_a_disk_that_does_not_tell_is_tried_later(notes: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.stat

    def failing(path: Path, **options: bool) -> os.stat_result:
        if str(path).endswith("-wal"):
            raise OSError(5, "Input/output error")
        return really(path, **options)

    monkeypatch.setattr("os.stat", failing)
    [result] = await asyncio.gather(notes.write(put("a")), return_exceptions=True)
    assert getattr(result, "exit_code", None) == 75
    monkeypatch.undo()
    await notes.write(put("b"))
