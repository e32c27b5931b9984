"""Room in the write-ahead log: commits overwrite zeros or what an older run left, and neither is read as a frame."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from convoq.db import Database
from convoq.db import writer as db_writer
from convoq.db.files import log_of
from convoq.db.log_room import ROOM_BYTES
from convoq.monitoring.audit import first_damage
from tests.clock import ManualClock
from tests.db.notes import killed, notes_in, put
from tests.write_ahead_log import FRAME_HEADER, WAL_HEADER, commits, end_of, frames

NOTES = 12


def size_of_log(database: Database) -> int:
    return log_of(database.path).stat().st_size


async def test_commits_make_a_log_with_room_no_longer(notes: Database) -> None:
    await notes.make_room()
    for number in range(50):
        await notes.write(put(str(number)))
    assert size_of_log(notes) == ROOM_BYTES
    assert end_of(log_of(notes.path).read_bytes()) > 50 * 2048


async def test_a_checkpoint_begins_the_log_anew_and_keeps_its_length(notes: Database) -> None:
    await notes.make_room()
    await notes.write(put("a" * 100_000))
    before = end_of(log_of(notes.path).read_bytes())
    await notes.tidy()
    await notes.write(put("b"))
    assert end_of(log_of(notes.path).read_bytes()) < before
    assert size_of_log(notes) == ROOM_BYTES


async def test_what_a_reader_has_let_grow_is_given_back(notes: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db_writer, "LARGE_LOG", ROOM_BYTES + 1)
    await notes.make_room()
    await notes.write(put("a" * 2 * ROOM_BYTES))
    assert size_of_log(notes) > 2 * ROOM_BYTES
    await notes.tidy()
    assert size_of_log(notes) == ROOM_BYTES
    await notes.write(put("b"))
    assert len(await notes_in(notes)) == 2


async def test_room_is_made_behind_what_was_committed(notes: Database) -> None:
    await notes.write(put("before"))
    await notes.make_room()
    await notes.write(put("after"))
    async with await Database.open(notes.path, clock=notes.clock) as other:
        assert await notes_in(other) == ["before", "after"]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_disk_without_room_leaves_the_log_as_it_is(notes: Database) -> None:
    await notes.write(put("a"))
    before = log_of(notes.path).read_bytes()
    with largest_file(ROOM_BYTES // 2):
        await notes.make_room()
    assert log_of(notes.path).read_bytes() == before
    await notes.write(put("b"))
    assert await notes_in(notes) == ["a", "b"]


async def test_below_the_watermark_no_room_is_taken(tmp_path: Path, clock: ManualClock) -> None:
    everything = os.statvfs(tmp_path)
    more = everything.f_blocks * everything.f_frsize // 2**20 + 1
    async with await Database.open(tmp_path / "convoq.db", clock=clock, min_free_mb=more) as database:
        await database.make_room()
        assert size_of_log(database) < ROOM_BYTES


# --- What a crash leaves


class Played(NamedTuple):
    """A file before it was written to, the log that it had then, and the log of one note a commit."""

    before: bytes
    older: bytes
    log: bytes


async def played(path: Path, clock: ManualClock) -> Played:
    async with await Database.open(path, clock=clock) as database:
        await database.write(lambda c: c.execute("CREATE TABLE notes (text TEXT UNIQUE) STRICT"))
        await database.make_room()
        for number in range(2 * NOTES):
            await database.write(put(f"old {number}"))
        await database.write(lambda c: c.execute("DELETE FROM notes"))
        await database.tidy()
        before, older = contents(path)
        for number in range(NOTES):
            await database.write(put(str(number)))
        return Played(before, older, contents(path)[1])


def contents(path: Path) -> tuple[bytes, bytes]:
    # By another process: a descriptor that is closed in this one would drop SQLite's locks.
    file, log = (subprocess.check_output(["cat", name], timeout=10) for name in (path, log_of(path)))
    return file, log


def torn(log: bytes) -> Iterator[int]:
    """Places at which a write may have ended: between frames, in their headers and pages, in the log's own header."""
    yield from (0, 8, WAL_HEADER - 1, WAL_HEADER)
    for end, _ in frames(log):
        yield from (end - 1, end, end + 8, end + FRAME_HEADER, end + FRAME_HEADER + 512)


@pytest.mark.parametrize("tail", ["zeros", "an older run", "nothing"])
async def test_wherever_the_log_was_torn_all_whole_commits_before_are_there_and_no_other(
    tail: str, tmp_path: Path, clock: ManualClock
) -> None:
    before, older, log = await played(tmp_path / "played" / "convoq.db", clock)
    assert end_of(older) > end_of(log)
    used = end_of(older) + 50_000  # the rest of the room is zeros, too
    behind = {"zeros": bytes(used), "an older run": older[:used], "nothing": b""}[tail]
    for place in torn(log):
        path = tmp_path / str(place) / "convoq.db"
        path.parent.mkdir()
        path.write_bytes(before)
        left = log[:place] + behind[place:]
        log_of(path).write_bytes(left)
        async with await Database.open(path, clock=clock) as database:
            whole = sum(left[:end] == log[:end] for end in commits(log))
            assert await notes_in(database) == [str(number) for number in range(whole)], f"torn at {place}"
            assert await database.read(first_damage) is None


async def test_a_killed_process_leaves_a_log_with_room_that_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "convoq.db"
    await killed(path)
    assert log_of(path).stat().st_size == ROOM_BYTES
    async with await Database.open(path) as database:
        assert await notes_in(database) == ["acknowledged"]
        assert await database.read(first_damage) is None


async def test_the_last_process_takes_the_room_with_it(notes: Database) -> None:
    await notes.make_room()
    await notes.write(put("a"))
    await notes.close()
    assert not log_of(notes.path).exists()


async def test_no_frame_of_another_program_is_overwritten(notes: Database) -> None:
    program = """if True:
        import sqlite3, sys
        connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
        for number in range(300):
            connection.execute("INSERT INTO notes VALUES (?)", (f"theirs {number}",))
            if number % 10 == 0:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    """
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(notes.path))
    while other.returncode is None:
        await notes.make_room()
        await asyncio.sleep(0)
    assert len(await notes_in(notes)) == 300
    assert await notes.read(first_damage) is None
