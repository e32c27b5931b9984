"""Migrations: each once, with its number, all of it or nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from convoq.db import Database, migrations
from convoq.db.migrations import Migration, known, migrate, statements
from convoq.db.postgres.migrations import known as known_for_postgres
from convoq.errors import DatabaseRefused
from tests.clock import ManualClock

FIRST = Migration(1, "0001_first.sql", "CREATE TABLE first (a INTEGER) STRICT;\n")
SECOND = Migration(2, "0002_second.sql", "CREATE TABLE second (a INTEGER) STRICT;\nINSERT INTO second VALUES (1);\n")
BROKEN = Migration(3, "0003_broken.sql", "CREATE TABLE third (a INTEGER) STRICT;\nINSERT INTO nowhere VALUES (1);\n")
MANY_ROWS = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 10000) SELECT i FROM n"


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def have(monkeypatch: pytest.MonkeyPatch, *these: Migration) -> None:
    monkeypatch.setattr(migrations, "known", lambda: list(these))


def state(connection: sqlite3.Connection) -> tuple[int, list[str]]:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
    return version, [name for (name,) in tables]


def test_a_new_database_gets_every_migration(connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, FIRST, SECOND)
    assert migrate(connection) == [FIRST, SECOND]
    assert state(connection) == (2, ["first", "second"])


def test_a_migration_is_applied_once(connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, FIRST, SECOND)
    migrate(connection)
    assert migrate(connection) == []
    assert connection.execute("SELECT count(*) FROM second").fetchone() == (1,)


def test_an_older_database_gets_what_is_new(connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, FIRST)
    migrate(connection)
    have(monkeypatch, FIRST, SECOND)
    assert migrate(connection) == [SECOND]


def test_a_failing_migration_leaves_nothing_of_itself(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    have(monkeypatch, FIRST, SECOND, BROKEN)
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        migrate(connection)
    assert state(connection) == (2, ["first", "second"])
    assert not connection.in_transaction


def test_a_newer_database_is_refused(connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, FIRST)
    connection.execute("PRAGMA user_version = 2")
    with pytest.raises(DatabaseRefused, match="has schema 2, this convoq knows 1"):
        migrate(connection)
    assert state(connection) == (2, [])


def test_statements_keep_what_a_semicolon_does_not_end() -> None:
    trigger = "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n  DELETE FROM b;\n  DELETE FROM c;\nEND;"
    sql = f"-- a comment; with semicolons;\nCREATE TABLE a (b TEXT DEFAULT ';');\n\n{trigger}\n"
    assert [each.rpartition("--")[0] or each for each in statements(sql)][1:] == [trigger]
    assert len(statements(sql)) == 2


@pytest.mark.parametrize("migration", known(), ids=lambda migration: migration.name)
def test_every_migration_consists_of_whole_statements(migration: Migration) -> None:
    kept = "\n".join(statements(migration.sql))
    assert [line.strip() for line in kept.splitlines() if line.strip()] == [
        line.strip() for line in migration.sql.splitlines() if line.strip()
    ]


def test_versions_start_at_one_and_grow_and_no_number_is_free_of_both_databases() -> None:
    versions = [migration.version for migration in known()]
    assert versions[0] == 1
    assert versions == sorted(set(versions))
    both = {*versions, *(migration.version for migration in known_for_postgres())}
    assert both == set(range(1, max(both) + 1))


def test_every_table_is_strict(tmp_path: Path, connection: sqlite3.Connection) -> None:
    migrate(connection)
    loose = connection.execute(
        "SELECT name FROM pragma_table_list WHERE type = 'table' AND NOT strict AND name NOT LIKE 'sqlite_%'"
    )
    assert loose.fetchall() == []


def test_a_failure_that_ended_the_transaction_is_the_one_that_is_told(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a failing disk does, an interrupt makes SQLite roll back by itself.
    have(monkeypatch, Migration(1, "0001_long.sql", f"CREATE TABLE long (a);\nINSERT INTO long {MANY_ROWS};\n"))
    connection.set_progress_handler(lambda: 1, 1_000)
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        migrate(connection)


async def test_many_that_open_a_new_file_at_once_migrate_it_once(tmp_path: Path, clock: ManualClock) -> None:
    opened = await asyncio.gather(*(Database.open(tmp_path / "convoq.db", clock=clock) for _ in range(6)))
    found = [await each.read(lambda c: c.execute("PRAGMA user_version").fetchone()) for each in opened]
    for database in opened:
        await database.close()
    assert found == [(known()[-1].version,)] * 6
