"""PostgreSQL's migrations: each once, also side by side, and old code beside a new schema."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from convoq.db import OpenMode
from convoq.db.migrations import Migration, statements
from convoq.db.migrations import known as known_for_sqlite
from convoq.db.postgres import migrations
from convoq.db.postgres.migrations import Schema, migrate, read_schema
from convoq.db.postgres.store import PostgresDatabase
from convoq.errors import ConvoqError, DatabaseRefused

FIRST = Migration(1, "0001_first.sql", "-- oldest code: 1\nCREATE TABLE first (a bigint);\n")
SECOND = Migration(2, "0002_second.sql", "-- oldest code: 1\nCREATE TABLE second (a bigint);\nSELECT pg_sleep(0.2);\n")
BREAKING = Migration(3, "0003_breaking.sql", "-- oldest code: 3\nDROP TABLE first;\n")
FAILING = Migration(3, "0003_failing.sql", "-- oldest code: 3\nDROP TABLE first;\nINSERT INTO nowhere VALUES (1);\n")

#: Of SQLite alone: its queue, its clock, and its index of texts.
NOT_OF_THE_STORE = {"clock", "jobs", "job_ids", "lanes", "dedup", "text_search"}


@pytest.fixture
def connection(postgres_url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


def have(monkeypatch: pytest.MonkeyPatch, *these: Migration) -> None:
    monkeypatch.setattr(migrations, "known", lambda: list(these))


def tables(connection: psycopg.Connection[tuple[Any, ...]]) -> list[str]:
    found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
    return [name for (name,) in found]


def test_a_new_database_gets_every_migration_and_a_migrated_one_none(
    connection: psycopg.Connection[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    have(monkeypatch, FIRST, SECOND)
    assert migrate(connection) == Schema(0, 0)
    assert migrate(connection) == Schema(2, 1)
    assert tables(connection) == ["first", "schema_version", "second"]


def test_a_failing_migration_leaves_nothing_of_itself(
    connection: psycopg.Connection[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    have(monkeypatch, FIRST, SECOND, FAILING)
    with pytest.raises(psycopg.errors.UndefinedTable):
        migrate(connection)
    assert (read_schema(connection), tables(connection)) == (Schema(2, 1), ["first", "schema_version", "second"])


async def test_processes_that_begin_together_apply_each_once(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    have(monkeypatch, FIRST, SECOND)
    stores = await asyncio.gather(*(PostgresDatabase.open(postgres_url) for _ in range(4)))
    assert [await store.read(lambda tx: tx.execute("SELECT 1 FROM second").fetchall()) for store in stores] == 4 * [[]]
    for store in stores:
        await store.close()


async def test_old_code_works_on_beside_a_new_schema_that_only_adds(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    have(monkeypatch, FIRST)
    async with await PostgresDatabase.open(postgres_url) as old:
        have(monkeypatch, FIRST, SECOND)
        async with await PostgresDatabase.open(postgres_url) as new:
            assert new.found_schema == 1
            have(monkeypatch, FIRST)
            await old.check()
            async with await PostgresDatabase.open(postgres_url) as restarted:
                await restarted.check()


async def test_old_code_stops_when_a_new_schema_takes_from_it(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    have(monkeypatch, FIRST, SECOND)
    async with await PostgresDatabase.open(postgres_url) as old:
        have(monkeypatch, FIRST, SECOND, BREAKING)
        async with await PostgresDatabase.open(postgres_url):
            have(monkeypatch, FIRST, SECOND)
            with pytest.raises(DatabaseRefused, match=r"has schema 3, .* this one knows 2: start the newer convoq"):
                await old.check()
            with pytest.raises(DatabaseRefused, match="has schema 3"):
                await PostgresDatabase.open(postgres_url)


async def test_a_command_neither_creates_nor_migrates(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, FIRST)
    with pytest.raises(ConvoqError, match=r"no database of convoq's at .* yet: .* run convoq db migrate"):
        await PostgresDatabase.open(postgres_url, mode=OpenMode.EXISTING)
    async with await PostgresDatabase.open(postgres_url):
        have(monkeypatch, FIRST, SECOND)
    with pytest.raises(ConvoqError, match="has schema 1, this convoq has 2: run convoq db migrate"):
        await PostgresDatabase.open(postgres_url, mode=OpenMode.EXISTING)


def test_each_says_which_code_it_needs() -> None:
    found = {migration.version: migrations.oldest_code(migration) for migration in migrations.known()}
    assert all(oldest <= version for version, oldest in found.items())


def test_no_number_means_two_changes() -> None:
    """Of one database or of both: what only one of them has is free to none else."""
    names = {one.name for one in [*known_for_sqlite(), *migrations.known()] if one.version > 12}
    assert len({name.partition("_")[0] for name in names}) == len(names)


def test_both_databases_end_with_the_same_tables_and_columns_of_the_store(shared_postgres_url: str) -> None:
    with sqlite3.connect(":memory:") as embedded, psycopg.connect(shared_postgres_url) as server:
        for migration in known_for_sqlite():
            for statement in statements(migration.sql):
                embedded.execute(statement)
        assert _of_the_store(server.execute(COLUMNS_OF_POSTGRES)) >= _of_the_store(embedded.execute(COLUMNS_OF_SQLITE))
    embedded.close()


def _of_the_store(columns: Any) -> set[tuple[str, str, bool]]:
    return {
        (table, column, bool(required))
        for table, column, required in columns
        if table not in NOT_OF_THE_STORE and not table.startswith("message_t")
    }


COLUMNS_OF_SQLITE = """
    SELECT t.name, c.name, c."notnull" OR c.pk FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c
    WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'
"""
COLUMNS_OF_POSTGRES = """
    SELECT table_name, column_name, is_nullable = 'NO' FROM information_schema.columns WHERE table_schema = 'public'
"""
