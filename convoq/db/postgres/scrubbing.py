"""Leaves nothing in the tables' files of what was deleted from them: as far as a client of the server can see to it."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import psycopg
from psycopg import errors, sql

from convoq.db.postgres.connection import Connection
from convoq.db.postgres.failures import first_line

LOCK_TIMEOUT: Final = "SET lock_timeout = '5s'"  # a wait for a table's lock holds up all that come after
# ANALYZE leaves what it once found in a table that is empty now. To give a column its own type again drops that, and
# changes nothing else.
FORGET: Final = """
    SELECT c.relname, format('ALTER TABLE %I ALTER COLUMN %I TYPE %s', c.relname, a.attname,
        format_type(a.atttypid, a.atttypmod))
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid JOIN pg_stats AS s
        ON (s.schemaname, s.tablename, s.attname) = (current_schema(), c.relname, a.attname)
    WHERE c.relnamespace = current_schema()::regnamespace AND c.reltuples = 0
    ORDER BY c.relname, a.attname
"""
TABLES: Final = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename"


def scrub(connection: Connection) -> str | None:
    """Writes each table anew, and forgets the examples that statistics hold; else where it could not, and why."""
    connection.execute(LOCK_TIMEOUT)
    tables = [name for (name,) in connection.execute(TABLES)]
    failed = {}
    for name in tables:
        if (why := _run(connection, sql.SQL("VACUUM (FULL, ANALYZE) {}").format(sql.Identifier(name)))) is not None:
            failed[name] = why
    for name, statement in connection.execute(FORGET).fetchall():
        if (why := _run(connection, statement.encode())) is not None:
            failed[name] = why
    if (why := _run(connection, sql.SQL("VACUUM (FULL) pg_statistic"))) is not None:
        failed["pg_statistic"] = why
    with suppress(psycopg.Error):  # it is for some roles only; without it the server does it by itself before long
        connection.execute("CHECKPOINT")
    return "; ".join(f"{name} was not written anew: {why}" for name, why in failed.items()) or None


def _run(connection: Connection, statement: bytes | sql.SQL | sql.Composed) -> str | None:
    """Why it did nothing: what the role may not vacuum is only a warning."""
    said: list[str] = []

    def note(diagnostic: errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            said.append(diagnostic.message_primary or "")

    connection.add_notice_handler(note)
    try:
        connection.execute(statement)
    except psycopg.Error as error:
        return first_line(error)
    finally:
        connection.remove_notice_handler(note)
    return said[0] if said else None
