"""Numbered .sql files, each applied once, together with its number, in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

from convoq.db.connection import roll_back
from convoq.errors import DatabaseRefused


class Migration(NamedTuple):
    version: int
    name: str
    sql: str


def known() -> Sequence[Migration]:
    """Every migration this version of convoq has for SQLite, in order."""
    return read_migrations("sqlite")


@cache
def read_migrations(engine: str) -> Sequence[Migration]:
    """Those of one database, in order. A number means the same on all, but not every one has each."""
    folder = resources.files("convoq").joinpath("migrations", engine)
    files = (file for file in folder.iterdir() if file.name.endswith(".sql"))
    ordered = sorted(files, key=lambda file: file.name)
    return tuple(Migration(int(one.name.split("_")[0]), one.name, one.read_text(encoding="utf-8")) for one in ordered)


def migrate(connection: sqlite3.Connection) -> list[Migration]:
    """Brings the database up to this version; returns what was applied. Call it holding the write gate.

    Raises DatabaseRefused when the database is newer than the code.
    """
    migrations = known()
    pending = [
        migration for migration in migrations if migration.version > check_version(connection, migrations[-1].version)
    ]
    for migration in pending:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements(migration.sql):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {migration.version}")
            connection.execute("COMMIT")
        except BaseException:
            roll_back(connection)
            raise
    return pending


def check_version(connection: sqlite3.Connection, newest: int) -> int:
    """The database's version. Raises DatabaseRefused when it is newer than the code."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > newest:
        raise DatabaseRefused(
            f"the database has schema {version}, this convoq knows {newest}: start the newer convoq that wrote it"
        )
    return version


def statements(sql: str) -> list[str]:
    """The script's single statements (executescript would commit the transaction around them)."""
    found: list[str] = []
    rest = ""
    for line in sql.splitlines(keepends=True):
        rest += line
        if sqlite3.complete_statement(rest):
            found.append(rest.strip())
            rest = ""
    return found
