"""Who may create the file, and that nothing is created or deleted where one was lost."""

# ruff: noqa: ASYNC240 # the paths are what is tested, and nothing else runs in the loop

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from convoq.db import Database, OpenMode, birth
from convoq.db.migrations import known
from convoq.errors import ConvoqError, DatabaseRefused, DatabaseUnavailable
from tests.clock import ManualClock
from tests.db.notes import HOLDER, ROOT, killed, notes_in, put

MODES = list(OpenMode)


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(directory.rglob("*"))}


async def refusal(path: Path, mode: OpenMode = OpenMode.ROLE) -> str:
    """The one line with which it is refused; nothing is created, changed or deleted."""
    before = contents(path.parent)
    async with asyncio.timeout(20):
        with pytest.raises(DatabaseRefused) as caught:
            await Database.open(path, mode=mode)
    assert contents(path.parent) == before
    assert caught.value.exit_code == 78
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Where a database is whose process was killed."""
    path = tmp_path / "data" / "convoq.db"
    await killed(path)
    return path


async def test_the_first_role_in_a_bare_directory_creates_the_file(tmp_path: Path) -> None:
    async with await Database.open(tmp_path / "convoq.db", mode=OpenMode.ROLE) as database:
        assert database.found_schema == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["convoq.db", "convoq.db.run"]


async def test_processes_that_start_at_once_in_a_bare_directory_create_one_file(tmp_path: Path) -> None:
    holders = await asyncio.gather(*(running_or_refused(tmp_path / "convoq.db", str(n)) for n in range(6)))
    assert holders == [b"written\n"] * 6
    async with await Database.open(tmp_path / "convoq.db") as database:
        assert len(await notes_in(database)) == 6


async def running_or_refused(path: Path, name: str) -> bytes:
    program = HOLDER.replace('put("acknowledged")', f"put({name!r})").replace("await asyncio.Event().wait()", "")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(20):
        return (await process.communicate())[0]


async def test_a_file_that_is_missing_beside_its_run_directory_is_not_begun_anew(path: Path) -> None:
    for name in ("convoq.db", "convoq.db-wal", "convoq.db-shm"):
        (path.parent / name).unlink()
    assert await refusal(path) == (
        f"{path}: is missing, but convoq.db.run beside it shows that there was one: put it back or restore a backup; "
        "to begin with an empty one, run convoq db migrate"
    )


@pytest.mark.parametrize("mode", MODES)
async def test_a_log_that_has_lost_its_file_is_kept(path: Path, mode: OpenMode) -> None:
    path.rename(path.with_name("moved"))
    assert (await refusal(path, mode)).startswith(f"{path}: is missing, but convoq.db-wal, the log of one, is there")
    path.with_name("moved").rename(path)
    async with await Database.open(path, mode=mode) as database:
        assert await notes_in(database) == ["acknowledged"]


@pytest.mark.parametrize("mode", MODES)
async def test_an_empty_file_is_refused_and_its_log_kept(path: Path, mode: OpenMode) -> None:
    path.write_bytes(b"")
    assert (await refusal(path, mode)).startswith(f"{path}: is empty: put the right file back or restore a backup")


async def test_an_empty_file_without_a_trace_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "convoq.db").touch()
    with pytest.raises(DatabaseRefused, match="is empty"):
        await Database.open(tmp_path / "convoq.db")
    assert (tmp_path / "convoq.db").read_bytes() == b""


@pytest.mark.parametrize("mode", MODES)
async def test_a_log_that_was_deleted_after_a_kill_is_missed(path: Path, mode: OpenMode) -> None:
    path.with_name("convoq.db-wal").unlink()
    assert "convoq.db-wal, its log, was removed" in await refusal(path, mode)


async def test_a_gate_that_is_missing_in_its_run_directory_is_refused(path: Path) -> None:
    path.with_name("convoq.db.run").joinpath("gate").unlink()
    assert "convoq.db.run/gate: is missing" in await refusal(path)


async def test_a_database_that_another_program_made_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "convoq.db") as other:
        other.execute("CREATE TABLE orders (id INTEGER)")
    other.close()
    with pytest.raises(DatabaseRefused, match="is a database that convoq did not make"):
        await Database.open(tmp_path / "convoq.db")
    with sqlite3.connect(tmp_path / "convoq.db") as other:
        assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("orders",)]
    other.close()


async def test_asked_for_it_begins_anew_where_a_file_was_lost(path: Path) -> None:
    for name in ("convoq.db", "convoq.db-wal", "convoq.db-shm"):
        (path.parent / name).unlink()
    async with await Database.open(path, mode=OpenMode.CREATE) as database:
        assert database.found_schema == 0


async def test_a_file_alone_as_after_a_restore_elsewhere_is_opened(path: Path, tmp_path: Path) -> None:
    async with await Database.open(path):
        pass
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(path, tmp_path / "elsewhere" / "convoq.db")
    async with await Database.open(tmp_path / "elsewhere" / "convoq.db") as database:
        assert await notes_in(database) == ["acknowledged"]


async def test_existing_creates_nothing_in_a_bare_directory(tmp_path: Path) -> None:
    with pytest.raises(ConvoqError, match=r"no database at .*/data/convoq\.db yet") as caught:
        await Database.open(tmp_path / "data" / "convoq.db", mode=OpenMode.EXISTING)
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


async def test_existing_does_not_migrate(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "convoq.db"
    await (await Database.open(path, clock=clock)).close()
    older = known()[-1].version - 1
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {older}")
    connection.close()
    with pytest.raises(ConvoqError, match=f"has schema {older}, this convoq has {older + 1}"):
        await Database.open(path, mode=OpenMode.EXISTING)


STEPS = ["os.mkdir", "os.link", "os.unlink", "os.rename", "os.open", "os.fsync"]


@pytest.mark.parametrize("call", STEPS)
async def test_a_birth_that_is_killed_at_any_step_is_taken_up_by_the_next_start(tmp_path: Path, call: str) -> None:
    """Killed before the first call of the kind, then before the second, and so on, until there are no more."""
    program = """if True:
        import asyncio, os, sys
        from pathlib import Path
        from convoq.db import Database
        call, left = sys.argv[2].removeprefix("os."), int(sys.argv[3])
        really = getattr(os, call)
        def counted(*arguments, **options):
            global left
            if left == 0:
                os.kill(os.getpid(), 9)
            left -= 1
            return really(*arguments, **options)
        setattr(os, call, counted)
        async def main():
            async with await Database.open(Path(sys.argv[1])):
                pass
        asyncio.run(main())
    """
    for count in range(20):
        path = tmp_path / str(count) / "convoq.db"
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, str(path), call, str(count), cwd=ROOT
        )
        async with asyncio.timeout(20):
            code = await child.wait()
        async with await Database.open(path) as database:
            await database.write(lambda c: c.execute("CREATE TABLE notes (text TEXT UNIQUE) STRICT"))
            await database.write(put("a"))
        if code == 0:
            break
        assert code == -signal.SIGKILL
    else:
        raise AssertionError("it never came to its end")


async def test_behind_a_process_that_stands_still_while_it_creates_the_file_a_start_ends_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(birth, "LONGEST_BIRTH", 0.2)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        async with asyncio.timeout(20):
            with pytest.raises(DatabaseUnavailable, match=rf"process {os.getpid()} \(.* create the database") as caught:
                await Database.open(tmp_path / "convoq.db", mode=OpenMode.ROLE)
    finally:
        os.close(descriptor)
    assert caught.value.exit_code == 75
    assert contents(tmp_path) == {}


async def test_what_root_creates_belongs_to_the_owner_of_the_directory(tmp_path: Path) -> None:
    owner = (4711, 4712) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(tmp_path, *owner)
    async with await Database.open(tmp_path / "convoq.db", mode=OpenMode.CREATE):
        owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in tmp_path.rglob("*")}
    assert set(owners) == {"convoq.db", "convoq.db-wal", "convoq.db-shm", "convoq.db.run", "gate"}
    assert set(owners.values()) == {owner}
