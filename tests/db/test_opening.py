"""Opening and closing: what is created, what is refused and in which words, what stays behind."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import stat
import threading
from functools import partial
from pathlib import Path

import pytest

from convoq.db import Database, files, migrations
from convoq.errors import DatabaseRefused, DatabaseUnavailable
from tests.clock import ManualClock
from tests.db.notes import held_writer, notes_in, put, turns


async def refusal(path: Path) -> str:
    with pytest.raises(DatabaseRefused) as caught:
        await Database.open(path)
    assert caught.value.exit_code == 78
    assert "\n" not in str(caught.value)
    return str(caught.value)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def locks_on(path: Path) -> list[str]:
    """Those of this process, without their numbers."""
    ours = (f" {os.getpid()} ", f":{path.stat().st_ino} ")
    lines = Path("/proc/locks").read_text().splitlines()
    return sorted(line.split(maxsplit=1)[1] for line in lines if all(part in line for part in ours))


# --- What is created


@pytest.mark.parametrize("name", ["convoq.db", "convoq.db-wal", "convoq.db-shm", "convoq.db.run/gate"])
async def test_every_file_is_its_owners_alone(database: Database, name: str) -> None:
    assert mode(database.path.parent / name) == 0o600


async def test_the_run_directory_is_its_owners_alone(database: Database) -> None:
    assert mode(database.run_directory) == 0o700


async def test_a_missing_directory_is_created_for_its_owner_alone(tmp_path: Path, clock: ManualClock) -> None:
    async with await Database.open(tmp_path / "data" / "deep" / "convoq.db", clock=clock):
        assert mode(tmp_path / "data" / "deep") == 0o700


async def test_a_relative_path_is_kept_absolute(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with await Database.open(Path("convoq.db"), clock=clock) as database:
        monkeypatch.chdir("/")
        await database.check()
        assert database.path == tmp_path / "convoq.db"


async def test_the_file_is_in_wal_mode(database: Database) -> None:
    assert await database.read(lambda c: c.execute("PRAGMA journal_mode").fetchone()) == ("wal",)


# --- What is refused


async def test_a_directory_in_the_files_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "convoq.db").mkdir()
    assert await refusal(tmp_path / "convoq.db") == f"{tmp_path}/convoq.db: is not a file"


@pytest.mark.parametrize(("free", "words"), [(0, "the disk is full"), (1 << 30, "cannot be opened")])
async def test_files_that_cannot_be_made_on_a_full_disk_are_told_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, words: str
) -> None:
    disk = os.statvfs_result((1, 1, 1 << 40, free, free, 1000, 1000, 1000, 0, 255))
    monkeypatch.setattr("os.statvfs", lambda _: disk)
    await (await Database.open(tmp_path / "convoq.db")).close()
    (tmp_path / "convoq.db-wal").mkdir()
    with pytest.raises(DatabaseUnavailable, match=words) as caught:
        await Database.open(tmp_path / "convoq.db")
    assert caught.value.exit_code == 75


@pytest.mark.parametrize("name", ["convoq.db.new", "convoq.db.run.new/gate", "convoq.db.run/gate"])
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full: free some space (No space left on device)"),
        (errno.EROFS, "the disk cannot be written: look at its mount"),
        (errno.EIO, "the disk failed: look at the kernel's log (Input/output error)"),
    ],
)
async def test_a_disk_on_which_nothing_can_be_created_now_is_tried_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int, words: str
) -> None:
    really = os.open

    def failing(path: str | Path, *arguments: int) -> int:
        if Path(path) == tmp_path / name:
            raise OSError(code, os.strerror(code))
        return really(path, *arguments)

    monkeypatch.setattr("os.open", failing)
    with pytest.raises(DatabaseUnavailable) as caught:
        await Database.open(tmp_path / "convoq.db")
    assert caught.value.exit_code == 75
    assert words in str(caught.value)


async def test_the_log_of_a_process_that_was_killed_is_its_own(tmp_path: Path, clock: ManualClock) -> None:
    async with await Database.open(tmp_path / "convoq.db", clock=clock) as database:
        await database.write(lambda connection: connection.execute("CREATE TABLE notes (text TEXT UNIQUE) STRICT"))
        await database.write(put("a"))
        crashed = tmp_path / "crashed"
        crashed.mkdir()
        # By another process: closing a descriptor of the file in this one would drop the locks of the database.
        copying = await asyncio.create_subprocess_exec(
            "cp", tmp_path / "convoq.db", tmp_path / "convoq.db-wal", crashed
        )
        assert await copying.wait() == 0
    async with await Database.open(crashed / "convoq.db", clock=clock) as database:
        assert await notes_in(database) == ["a"]


async def test_opening_it_twice_in_one_process_keeps_the_locks_of_the_first(notes: Database) -> None:
    await notes.write(put("a"))
    before = locks_on(notes.path)
    assert before
    async with await Database.open(notes.path, clock=notes.clock) as second:
        assert await notes_in(second) == ["a"]
    assert locks_on(notes.path) == before


async def test_a_file_in_the_directorys_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    assert "convoq needs a directory of its own that it can write to" in await refusal(tmp_path / "data" / "convoq.db")


async def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write anywhere, so the kernel's answer is given here.
    def denied(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    assert "Permission denied" in await refusal(tmp_path / "convoq.db")


async def test_a_gate_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    await (await Database.open(tmp_path / "convoq.db")).close()
    (tmp_path / "convoq.db.run" / "gate").unlink()
    (tmp_path / "convoq.db.run" / "gate").mkdir()
    assert "convoq.db.run/gate: Is a directory" in await refusal(tmp_path / "convoq.db")


@pytest.mark.parametrize(
    "content", [b"not a database, but a letter to somebody" * 100, b"SQLite format 4\0" + bytes(4096)]
)
async def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "convoq.db").write_bytes(content)
    message = await refusal(tmp_path / "convoq.db")
    assert message.startswith(f"{tmp_path}/convoq.db: is not a sound database")
    assert "restore a backup" in message


async def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "convoq.db").write_bytes(b"precious" * 1000)
    await refusal(tmp_path / "convoq.db")
    assert (tmp_path / "convoq.db").read_bytes() == b"precious" * 1000


async def test_a_file_with_a_damaged_page_is_refused(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "convoq.db"
    await (await Database.open(path, clock=clock)).close()
    with path.open("r+b") as file:
        file.seek(3 * 2048)
        file.write(os.urandom(2048))
    assert "is not a sound database" in await refusal(path)


async def test_a_refused_file_leaves_no_thread_behind(tmp_path: Path) -> None:
    (tmp_path / "convoq.db").write_bytes(b"x" * 5000)
    before = set(threading.enumerate())
    await refusal(tmp_path / "convoq.db")
    await ended(set(threading.enumerate()) - before)


def test_a_refusal_is_over_when_its_event_loop_ends(tmp_path: Path) -> None:
    (tmp_path / "convoq.db").write_bytes(b"x" * 5000)
    for _ in range(40):  # a thread that still had something to tell would raise, which fails the test
        with pytest.raises(DatabaseRefused):
            asyncio.run(Database.open(tmp_path / "convoq.db"))


async def test_a_database_of_a_newer_version_is_refused(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "convoq.db"
    newest = migrations.known()[-1].version
    await (await Database.open(path, clock=clock)).close()
    with sqlite3.connect(path) as outsider:
        outsider.execute(f"PRAGMA user_version = {newest + 1}")
    outsider.close()
    assert f"has schema {newest + 1}, this convoq knows {newest}" in await refusal(path)


async def test_a_migration_by_a_newer_version_is_noticed_while_running(database: Database) -> None:
    newest = migrations.known()[-1].version
    await database.check()
    await database.write(lambda connection: connection.execute(f"PRAGMA user_version = {newest + 1}"))
    with pytest.raises(DatabaseRefused, match="start the newer convoq"):
        await database.check()


MOUNTS = """\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
35 21 0:40 / {nfs} rw,relatime shared:5 - nfs4 server:/export rw
36 35 8:2 / {nfs}/local\\040disk rw,relatime - xfs /dev/sdb1 rw
"""


@pytest.fixture
def mountinfo(tmp_path: Path) -> Path:
    (tmp_path / "mnt" / "local disk").mkdir(parents=True)
    (tmp_path / "mountinfo").write_text(MOUNTS.format(nfs=tmp_path / "mnt"))
    return tmp_path / "mountinfo"


def test_a_directory_is_of_the_innermost_mount(tmp_path: Path, mountinfo: Path) -> None:
    found = [files.filesystem(tmp_path / part, mountinfo) for part in ("", "mnt", "mnt/local disk")]
    assert found == ["ext4", "nfs4", "xfs"]


def test_a_symlink_is_followed_to_its_filesystem(tmp_path: Path, mountinfo: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "mnt")
    assert files.filesystem(tmp_path / "link", mountinfo) == "nfs4"


def test_a_kernel_that_tells_nothing_is_no_reason_to_refuse(tmp_path: Path) -> None:
    assert files.filesystem(tmp_path, tmp_path / "missing") is None


async def test_a_network_filesystem_is_refused(
    tmp_path: Path, mountinfo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "filesystem", partial(files.filesystem, mountinfo=mountinfo))
    message = await refusal(tmp_path / "mnt" / "convoq.db")
    assert message == f"{tmp_path}/mnt: is on nfs4, a network filesystem: put [database] path on a local disk"
    assert not (tmp_path / "mnt" / "convoq.db").exists()


# --- The file while it is used


async def test_a_replaced_file_is_noticed(database: Database) -> None:
    await database.check()
    database.path.rename(database.path.with_suffix(".old"))
    database.path.touch()
    with pytest.raises(DatabaseRefused, match="moved, replaced or deleted while convoq was running"):
        await database.check()


async def test_a_deleted_file_is_noticed(database: Database) -> None:
    database.path.unlink()
    with pytest.raises(DatabaseRefused, match="moved, replaced or deleted"):
        await database.check()


async def test_a_file_that_can_no_longer_be_looked_at_is_noticed(database: Database) -> None:
    directory = database.path.parent
    directory.rename(directory.with_name("away"))
    directory.touch()
    with pytest.raises(DatabaseRefused, match="moved, replaced or deleted"):
        await database.check()


# --- Room on the disk


def disk(free_mb: int, *, files: int = 1000, free_files: int = 500, size_mb: int = 100 * 1024) -> os.statvfs_result:
    blocks, free = size_mb * 256, free_mb * 256
    return os.statvfs_result((4096, 4096, blocks, free, free, files, free_files, free_files, 0, 255))


@pytest.mark.parametrize(
    ("shown", "enough"),
    [
        (disk(1025), True),
        (disk(1000), False),  # 5 % of 100 GB, but 1 GB at most
        (disk(65, size_mb=1000), True),
        (disk(63, size_mb=1000), False),
        (disk(5000, free_files=64), False),
        (disk(5000, files=0, free_files=0), True),  # a filesystem without a fixed number of files
    ],
)
def test_room_is_judged_by_bytes_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: os.statvfs_result, *, enough: bool
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: shown)
    assert files.FreeSpace(tmp_path, 64).enough() is enough


def test_the_disk_is_asked_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, shown = 10.0, disk(0)
    monkeypatch.setattr(os, "statvfs", lambda _: shown)
    space = files.FreeSpace(tmp_path, 64, monotonic=lambda: now)
    assert not space.enough()
    shown, now = disk(5000), 10.9
    assert not space.enough()
    now = 11.0
    assert space.enough()


def test_zero_switches_the_watermark_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: disk(0))
    assert files.FreeSpace(tmp_path, 0).enough()


def test_a_disk_that_cannot_be_asked_has_no_room(tmp_path: Path) -> None:
    assert not files.FreeSpace(tmp_path / "gone", 64).enough()


# --- Closing


async def ended(threads: set[threading.Thread]) -> None:
    for thread in threads:
        await asyncio.to_thread(thread.join, 5)
    assert not any(thread.is_alive() for thread in threads)


async def test_closing_leaves_no_thread(tmp_path: Path, clock: ManualClock) -> None:
    before = set(threading.enumerate())
    database = await Database.open(tmp_path / "convoq.db", clock=clock)
    own = set(threading.enumerate()) - before
    assert len(own) == 2
    await database.close()
    await ended(own)


async def test_closing_moves_the_log_into_the_file(notes: Database) -> None:
    await notes.write(put("kept"))
    await notes.close()
    assert not notes.path.with_name("convoq.db-wal").exists()
    with sqlite3.connect(notes.path) as outsider:
        assert outsider.execute("SELECT text FROM notes").fetchall() == [("kept",)]
    outsider.close()


async def test_what_waits_when_it_is_closed_is_committed(notes: Database) -> None:
    async with held_writer(notes):
        writes = [asyncio.create_task(notes.write(put(str(number)))) for number in range(20)]
        await turns()
        closing = asyncio.create_task(notes.close())
        await turns()
    await asyncio.gather(closing, *writes)
    with sqlite3.connect(notes.path) as outsider:
        assert outsider.execute("SELECT count(*) FROM notes").fetchone() == (20,)
    outsider.close()


async def test_a_closed_database_says_so(notes: Database) -> None:
    await notes.close()
    uses = [notes.write(put("late")), notes_in(notes), notes.changes(), notes.tidy(), notes.check()]
    for result in await asyncio.gather(*uses, return_exceptions=True):
        assert isinstance(result, DatabaseUnavailable)
        assert str(result) == f"{notes.path}: is closed"


async def test_who_comes_while_it_is_being_closed_hears_that_it_is(notes: Database) -> None:
    async with held_writer(notes):
        closing = asyncio.create_task(notes.close())
        results: list[object] = []
        for _ in range(10):
            await turns(1)
            results += await asyncio.gather(notes_in(notes), notes.write(put("late")), return_exceptions=True)
    await closing
    assert {type(result) for result in results} == {DatabaseUnavailable}


async def test_closing_twice_closes_no_other_descriptor(database: Database) -> None:
    await database.close()
    reused = os.open("/dev/null", os.O_RDONLY)
    await database.close()
    os.fstat(reused)
    os.close(reused)


async def test_checkpoint_beside_an_old_reader_keeps_what_it_reads(notes: Database) -> None:
    await notes.write(put("a"))
    with sqlite3.connect(notes.path, isolation_level=None) as outsider:
        outsider.execute("BEGIN")
        outsider.execute("SELECT * FROM notes").fetchall()
        await notes.write(put("b"))
        await notes.tidy()
        assert outsider.execute("SELECT text FROM notes").fetchall() == [("a",)]
    outsider.close()
    assert await notes_in(notes) == ["a", "b"]
