"""Moves a team from its SQLite file to PostgreSQL: conversations, queue and all, in one transaction."""

from __future__ import annotations

import asyncio
import sqlite3
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Any, Final, NamedTuple
from uuid import UUID

import psycopg
from psycopg import sql

from convoq.db import Database
from convoq.db.postgres.connection import Connection
from convoq.db.postgres.failures import first_line, is_environmental, unavailable
from convoq.db.postgres.store import PostgresDatabase
from convoq.errors import ConvoqError
from convoq.queue.postgres.text import stored_json, stored_key
from convoq.queue.sqlite.enqueue import LAST_ID

Advance = Callable[[int], None]  #: is told of rows as they arrive

PAGE: Final = 500  # rows
#: Between the two clocks: less is not worth moving all times for.
UNNOTICED_MS: Final = 1000
#: They ran on the file, and the tables of versions are each database's own.
LEFT_OUT: Final = ("processes", "schema_version")
#: How the queue of each database writes what is told apart by it: see text.py.
AS_STORED: Final[Mapping[str, Callable[[Any], Any]]] = {
    "lane": stored_key,
    "aside_of": stored_key,
    "kind": stored_key,
    "dedup_key": stored_key,
    "waiting_key": stored_key,
    "payload": stored_json,
}
OF_QUEUE: Final = ("jobs", "lanes")


class Table(NamedTuple):
    name: str
    columns: tuple[str, ...]  #: that both databases have, in one order
    is_setting: bool  #: one row, which every new database has already


async def copy_database(source: Database, target: PostgresDatabase, advance: Advance) -> dict[str, int]:
    """How many rows of each table are now in the target, whose roles go on where those of the source have ended.

    All or nothing: whenever this ends otherwise, however it ends, the target is as it was. No process writes to the
    source meanwhile. Raises ConvoqError where the target holds anything already, or has not become what the source is.
    """
    # By its own clock, which may have been corrected since the last boot.
    by_ms = target.clock.now() - source.clock.now()
    by_ms = by_ms if abs(by_ms) > UNNOTICED_MS else 0
    return await source.write(_copy_undone, target, by_ms, source.clock.now() + by_ms, advance)


async def count_rows(source: Database, target: PostgresDatabase) -> int:
    """About how many there are to copy."""
    with await asyncio.to_thread(target.server.connect) as connection:
        tables = await asyncio.to_thread(_tables, connection)
    return await source.read(lambda tx: sum(_count(tx, table.name) for table in tables))


def _copy_undone(
    tx: sqlite3.Connection, target: PostgresDatabase, by_ms: int, now: int, advance: Advance
) -> dict[str, int]:
    """In a transaction that leaves no trace in the source: its triggers know which times move with a clock."""
    tx.execute("SAVEPOINT copying")
    try:
        if by_ms:
            tx.execute("INSERT INTO clock_corrections (by_ms, since, until) VALUES (?, 1, ?)", (by_ms, 2**62))
        # Of workers that were killed: no role runs, and in the target nothing would know them for dead.
        tx.execute("UPDATE lanes SET receipt = NULL, worker = NULL, due_at = ? WHERE receipt IS NOT NULL", (now,))
        return _copy(tx, target, advance)
    except psycopg.Error as error:
        if is_environmental(error):
            raise unavailable(target.location, error) from error
        raise ConvoqError(f"{target.location}: {first_line(error)}: nothing was copied") from error
    finally:
        tx.execute("ROLLBACK TO copying")
        tx.execute("RELEASE copying")


def _copy(tx: sqlite3.Connection, target: PostgresDatabase, advance: Advance) -> dict[str, int]:
    with target.server.connect() as connection, connection.transaction():
        connection.execute(ONE_AT_A_TIME)
        connection.execute("SET CONSTRAINTS ALL DEFERRED")
        tables = _tables(connection)
        _require_empty(connection, target.location, tables)
        copied: dict[str, int] = {}
        for table in tables:
            _copy_table(tx, connection, table, advance)
            copied[table.name] = _compared(tx, connection, table)
            _continue_numbers(tx, connection, table)
        [last_id] = tx.execute(LAST_ID).fetchone()
        connection.execute(CONTINUE, {"sequence": "job_ids", "last": last_id})
    return copied


def _tables(connection: Connection) -> list[Table]:
    """Each after those that it refers to, but for what may be deferred."""
    columns: dict[str, list[str]] = {}
    for name, column in connection.execute(COLUMNS).fetchall():
        if name not in LEFT_OUT and (name, column) != ("lanes", "marked"):
            columns.setdefault(name, []).append(column)
    order = TopologicalSorter({name: set[str]() for name in sorted(columns)})
    for name, other in connection.execute(REFERENCES).fetchall():
        order.add(name, other)
    return [Table(name, tuple(columns[name]), "one" in columns[name]) for name in order.static_order()]


def _require_empty(connection: Connection, location: str, tables: Sequence[Table]) -> None:
    for name in [*(table.name for table in tables if not table.is_setting), "processes"]:
        query = sql.SQL("SELECT EXISTS (SELECT 1 FROM {})").format(sql.Identifier(name))
        if connection.execute(query).fetchone() == (True,):
            raise ConvoqError(f"{location}: holds rows of its own already (in {name}): copy into an empty database")


def _copy_table(tx: sqlite3.Connection, connection: Connection, table: Table, advance: Advance) -> None:
    name = sql.Identifier(table.name)
    if table.is_setting:
        connection.execute(sql.SQL("DELETE FROM {}").format(name))
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    with connection.cursor().copy(sql.SQL("COPY {} ({}) FROM STDIN").format(name, columns)) as copy:
        for rows in _pages(tx, table):
            for row in rows:
                copy.write_row(row)
            advance(len(rows))


def _pages(tx: sqlite3.Connection, table: Table) -> Iterator[list[Sequence[Any]]]:
    if table.name == "dedup":
        cursor = tx.execute("SELECT slot, rest, job_id, enqueued_at FROM dedup")
        while rows := cursor.fetchmany(PAGE):
            yield [(_digest(slot, rest), *others) for slot, rest, *others in rows]
        return
    cursor = tx.execute(f"SELECT {', '.join(table.columns)} FROM {table.name}")  # the schema's own names
    change = [AS_STORED.get(column) if table.name in OF_QUEUE else None for column in table.columns]
    while rows := cursor.fetchmany(PAGE):
        yield [[each if as_stored is None else as_stored(each) for each, as_stored in zip(row, change, strict=True)]
               for row in rows]  # fmt: skip


def _digest(slot: int, rest: int) -> UUID:
    """The same digest of a key, whose halves the file keeps apart."""
    return UUID(bytes=struct.pack("<qq", slot, rest))


def _compared(tx: sqlite3.Connection, connection: Connection, table: Table) -> int:
    there = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table.name))).fetchone()
    here = _count(tx, table.name)
    if there != (here,):
        raise ConvoqError(f"{table.name}: {here} rows were to be copied, and {there} arrived: nothing was copied")
    return here


def _count(tx: Any, name: str) -> int:
    found: int = tx.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # the schema's own name
    return found


def _continue_numbers(tx: sqlite3.Connection, connection: Connection, table: Table) -> None:
    """No number is given out that a row has had, also one that is deleted."""
    sequence = connection.execute(SEQUENCE, {"table": table.name}).fetchone() if "id" in table.columns else None
    if sequence is None or sequence[0] is None:
        return
    [newest] = tx.execute(f"SELECT coalesce(max(id), 0) FROM {table.name}").fetchone()  # as above
    given = tx.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table.name,)).fetchone() or (0,)
    last = max(newest, given[0])
    connection.execute(CONTINUE, {"sequence": sequence[0], "last": last})


ONE_AT_A_TIME: Final = "SELECT pg_advisory_xact_lock(hashtextextended('convoq migrations ' || current_schema(), 0))"
COLUMNS: Final = """
    SELECT c.relname, a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY c.relname, a.attnum
"""
REFERENCES: Final = """
    SELECT c.relname, f.relname FROM pg_constraint AS k
    JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_class AS f ON f.oid = k.confrelid
    WHERE k.contype = 'f' AND k.connamespace = current_schema()::regnamespace
        AND k.conrelid <> k.confrelid AND NOT k.condeferrable
"""
CONTINUE: Final = "SELECT setval(CAST(%(sequence)s AS regclass), greatest(%(last)s, 1), %(last)s > 0)"
SEQUENCE: Final = "SELECT pg_get_serial_sequence(%(table)s, 'id')"
