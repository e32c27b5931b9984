"""Applies the .sql files for PostgreSQL, each once, while older processes may still run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import psycopg

from convoq.db.migrations import Migration, read_migrations
from convoq.errors import DatabaseRefused

Connection = psycopg.Connection[tuple[Any, ...]]

OLDEST_CODE: Final = re.compile(r"^-- oldest code: (\d+)$", re.MULTILINE)


class Schema(NamedTuple):
    """What the database has."""

    version: int
    oldest_code: int  #: convoq whose newest migration is older must not work on it


NONE: Final = Schema(0, 0)


def known() -> Sequence[Migration]:
    """Every migration this version of convoq has for PostgreSQL, in order."""
    return read_migrations("postgres")


def migrate(connection: Connection) -> Schema:
    """Brings the database up to this version; returns what it had. One process at a time, whichever machine it is on.

    Raises DatabaseRefused when the database is too new for the code.
    """
    found = schema = None
    for migration in known():
        if schema is not None and migration.version <= schema.version:
            continue
        # DDL and version are one transaction, and so is the look: another process may have applied it meanwhile.
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")  # or the wait would be in the snapshot
            connection.execute(LOCK)
            schema = read_schema(connection)
            found = found or schema
            check(schema)
            if migration.version > schema.version:
                connection.execute(migration.sql.encode(), prepare=False)
                connection.execute(CREATE_VERSION)
                connection.execute(SET_VERSION, (migration.version, oldest_code(migration)))
    return found or NONE


def read_schema(connection: Connection) -> Schema:
    """Without a version there is no database of convoq's."""
    if connection.execute(HAS_VERSION).fetchone() is None:
        return NONE
    found = connection.execute("SELECT version, oldest_code FROM schema_version").fetchone()
    return NONE if found is None else Schema(*found)


def check(schema: Schema) -> None:
    """A new schema is there before the last old process is gone, so it is refused only by code that cannot use it."""
    newest = known()[-1].version
    if schema.oldest_code > newest:
        raise DatabaseRefused(
            f"the database has schema {schema.version}, which needs a convoq that knows {schema.oldest_code}, and this "
            f"one knows {newest}: start the newer convoq that wrote it"
        )


def oldest_code(migration: Migration) -> int:
    """What the file says: code of an older version must not work with what it changes."""
    found = OLDEST_CODE.search(migration.sql)
    if found is None:
        raise ValueError(f"{migration.name} does not say which is the oldest code that can work with it")
    return int(found[1])


LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('convoq migrations ' || current_schema(), 0))"
# Not to_regclass: waiting for the lock, it does not notice what was created meanwhile.
HAS_VERSION: Final = """
    SELECT 1 FROM pg_class WHERE relname = 'schema_version' AND relnamespace = current_schema()::regnamespace
"""
CREATE_VERSION: Final = """
    CREATE TABLE IF NOT EXISTS schema_version (
        one bigint PRIMARY KEY CHECK (one = 1), version bigint NOT NULL, oldest_code bigint NOT NULL)
"""
SET_VERSION: Final = """
    INSERT INTO schema_version (one, version, oldest_code) VALUES (1, %s, %s)
    ON CONFLICT (one) DO UPDATE SET version = excluded.version,
        oldest_code = greatest(schema_version.oldest_code, excluded.oldest_code)
"""
