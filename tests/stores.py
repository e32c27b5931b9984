"""The databases that the store is kept in: what is tested of conversations holds on each of them."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import psycopg
import pytest
from psycopg.rows import dict_row

from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from convoq.db.postgres.transaction import adapters, translate
from tests.clock import ManualClock
from tests.servers.sqlite import lay_database

Row = Mapping[str, Any]

STORES: Final = ("sqlite", "postgres")
#: Of a test about the file itself, or about what only SQLite has.
only_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def on_each(argument: str, *, sqlite: Iterable[object], postgres: Iterable[object]) -> pytest.MarkDecorator:
    """For a search of many runs: a server takes longer for each, and what the rules miss shows on either."""
    runs = [*(("sqlite", one) for one in sqlite), *(("postgres", one) for one in postgres)]
    return pytest.mark.parametrize(("database", argument), runs, indirect=["database"])


@pytest.fixture(params=STORES)
async def database(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[Database | PostgresDatabase]:
    """An empty one of each kind."""
    opened: Database | PostgresDatabase
    if request.param == "sqlite":
        opened = await Database.open(lay_database(tmp_path / "convoq.db"), clock=clock)
    else:
        url = request.getfixturevalue("migrated_postgres_url")
        opened = await PostgresDatabase.open(url, clock=clock, pool=2)
    try:
        yield opened
    finally:
        await opened.close()


class Reader(Protocol):
    """Looks at what is committed, beside the store's own connections."""

    def rows(self, sql: str, *values: object) -> list[Row]: ...

    def snapshot(self) -> AbstractContextManager[object]:
        """What is read inside is of one moment."""
        ...

    def close(self) -> None: ...


def open_reader(database: Database | PostgresDatabase) -> Reader:
    return SqliteReader(database.path) if isinstance(database, Database) else PostgresReader(database.server.url)


class SqliteReader:
    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.row_factory = sqlite3.Row

    def rows(self, sql: str, *values: object) -> list[Row]:
        return [dict(row) for row in self._connection.execute(sql, values)]

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


class PostgresReader:
    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True, row_factory=dict_row, context=adapters())
        self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ

    def rows(self, sql: str, *values: object) -> list[Row]:
        return list(self._connection.execute(translate(sql).encode(), values).fetchall())

    def snapshot(self) -> AbstractContextManager[object]:
        return self._connection.transaction()

    def close(self) -> None:
        self._connection.close()
