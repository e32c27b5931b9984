"""Writes from a thread that does not depend on the event loop, beside the group commit."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from convoq.db import Database
from convoq.errors import DatabaseUnavailable

SOON = 5.0


def count_up(connection: sqlite3.Connection) -> int:
    connection.execute("UPDATE counter SET n = n + 1")
    return int(connection.execute("SELECT n FROM counter").fetchone()[0])


@pytest.fixture
async def counting(database: Database) -> Database:
    await database.write(lambda tx: tx.execute("CREATE TABLE counter AS SELECT 0 AS n"))
    return database


async def test_it_is_committed_while_the_event_loop_is_blocked(counting: Database, tmp_path: Path) -> None:
    thread = threading.Thread(target=counting.write_blocking, args=(count_up,))
    thread.start()
    thread.join(SOON)  # blocks the loop
    with sqlite3.connect(tmp_path / "convoq.db") as other:
        assert other.execute("SELECT n FROM counter").fetchone() == (1,)
    other.close()


async def test_it_waits_for_the_group_commit_and_the_group_commit_for_it(counting: Database) -> None:
    """Both add to one number, from two threads: none is lost, and neither finds the database locked."""

    def count_a_hundred() -> None:
        for _ in range(100):
            counting.write_blocking(count_up)

    counted = asyncio.create_task(asyncio.to_thread(count_a_hundred))
    for _ in range(20):
        await asyncio.gather(*(counting.write(count_up, durable=False) for _ in range(5)))
    await counted
    assert await counting.read(lambda tx: tx.execute("SELECT n FROM counter").fetchone()) == (200,)


async def test_what_fails_changes_nothing_and_the_next_one_works(counting: Database) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        count_up(connection)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        counting.write_blocking(fail)
    assert counting.write_blocking(count_up) == 1


async def test_a_closed_database_refuses_it(counting: Database) -> None:
    counting.write_blocking(count_up)
    await counting.close()
    with pytest.raises(DatabaseUnavailable):
        counting.write_blocking(count_up)


async def test_the_log_is_gone_once_the_database_is_closed(counting: Database, tmp_path: Path) -> None:
    counting.write_blocking(count_up)
    await counting.close()
    assert not (tmp_path / "convoq.db-wal").exists()
