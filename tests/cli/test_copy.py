"""`convoq db copy`: all that is in a file is in PostgreSQL afterwards, once, or nothing is."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from convoq.jobs import NewJob
from convoq.loopback.waiting import until
from convoq.queue.postgres.backend import PostgresQueue
from convoq.queue.sqlite.backend import SqliteQueue
from tests.cli.scenes import Place, announce, receive
from tests.query_plans.scene import play

OF_EACH_ITS_OWN = {"processes", "schema_version"}


def copy(place: Place, url: str) -> int:
    return place.run("db", "copy", str(place.database), url)


async def nothing(_: Database) -> None:
    """The scene begins on an empty database."""


def rows_in_file(path: Path, tables: dict[str, list[str]]) -> dict[str, list[tuple[Any, ...]]]:
    with sqlite3.connect(path) as connection:
        found = {
            name: connection.execute(f"SELECT {', '.join(columns)} FROM {name}").fetchall()
            for name, columns in tables.items()
        }
    connection.close()
    return {name: sorted(rows, key=repr) for name, rows in found.items()}


def rows_on_server(url: str, tables: dict[str, list[str]]) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(url) as connection:
        found = {
            name: connection.execute(f"SELECT {', '.join(columns)} FROM {name}".encode()).fetchall()
            for name, columns in tables.items()
        }
    return {
        name: sorted((tuple(int(v) if v is True or v is False else v for v in row) for row in rows), key=repr)
        for name, rows in found.items()
    }


def tables_of(url: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    with psycopg.connect(url) as connection:
        for name, column in connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        ):
            if name not in OF_EACH_ITS_OWN and (name, column) != ("lanes", "marked"):
                found.setdefault(name, []).append(column)
    return found


def test_every_row_of_every_table_arrives(
    bare: Place, migrated_postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = bare
    asyncio.run(play(place.database, before=nothing))
    # What is under a claim becomes free: see below.
    bare.execute("UPDATE lanes SET receipt = NULL, worker = NULL")
    bare.execute("UPDATE contacts SET disclosed_by = (SELECT min(id) FROM messages)")  # which lead back to contacts
    tables = tables_of(migrated_postgres_url)
    dedup = tables.pop("dedup")
    before = rows_in_file(place.database, tables)
    filled = {name for name, rows in before.items() if rows}
    assert filled >= {"jobs", "messages", "conversations", "contacts", "outbox", "audit", "model_calls", "threads"}

    assert copy(place, migrated_postgres_url) == 0
    assert rows_on_server(migrated_postgres_url, tables) == before == rows_in_file(place.database, tables)
    keys = rows_in_file(place.database, {"dedup": ["slot", "rest", "job_id", "enqueued_at"]})["dedup"]
    assert len(rows_on_server(migrated_postgres_url, {"dedup": dedup})["dedup"]) == len(keys)
    said = capsys.readouterr()
    assert f"{len(before['messages'])} messages" in said.out
    assert "roles on it would answer the same people again" in said.err
    with psycopg.connect(migrated_postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM processes").fetchone() == (0,)


def test_numbers_and_dedup_keys_go_on(place: Place, migrated_postgres_url: str) -> None:
    odd = NewJob(kind="reply", payload="{}", ordering_key="a\\b\0c", dedup_key="seen")

    async def enqueue(database: Database) -> list[str]:
        engine = SqliteQueue(database)
        enqueued = await engine.enqueue([odd, NewJob(kind="x", payload="{}")], max_attempts=3)
        await engine.close()
        return [one.job_id for one in enqueued]

    ids = place.prepare(enqueue)
    place.prepare(lambda database: receive(database, "Hello"))
    assert copy(place, migrated_postgres_url) == 0

    async def look() -> None:
        async with await PostgresDatabase.open(migrated_postgres_url) as database:
            engine = PostgresQueue(database)
            [again, new] = await engine.enqueue([odd, NewJob(kind="x", payload="{}")], max_attempts=3)
            assert (again.job_id, again.duplicate, new.duplicate) == (ids[0], True, False)
            assert int(new.job_id) > max(map(int, ids))
            assert await engine.busy(["a\\b\0c", "other"]) == {"a\\b\0c"}
            await engine.close()

    asyncio.run(look())
    with psycopg.connect(migrated_postgres_url) as connection:
        [newest] = connection.execute("SELECT max(id) FROM messages").fetchall()[0]
        assert connection.execute("SELECT nextval(pg_get_serial_sequence('messages', 'id'))").fetchone() == (
            newest + 1,
        )


def test_what_a_killed_worker_held_is_due_at_once(place: Place, migrated_postgres_url: str) -> None:
    async def claim(database: Database) -> None:
        engine = SqliteQueue(database)
        await engine.enqueue([NewJob(kind="x", payload="{}")], max_attempts=3)
        assert len(await engine.claim(1, lease=3600, worker="killed")) == 1
        await engine.close()

    place.prepare(claim)
    assert copy(place, migrated_postgres_url) == 0
    assert due_on_server(migrated_postgres_url) == 0


def due_on_server(url: str) -> float | None:
    """In how many seconds something is due there."""

    async def look() -> float | None:
        async with await PostgresDatabase.open(url) as database:
            engine = PostgresQueue(database)
            due = await engine.next_due()
            await engine.close()
            return due

    return asyncio.run(look())


def test_what_waits_goes_on_waiting_where_the_files_clock_was_wrong(place: Place, migrated_postgres_url: str) -> None:
    async def enqueue(database: Database) -> None:
        engine = SqliteQueue(database)
        await engine.enqueue([NewJob(kind="x", payload="{}", delay=3600)], max_attempts=3)
        await engine.close()

    place.execute("UPDATE clock SET anchor = anchor - 86400000")  # as if the last boot had begun a day too early
    place.prepare(enqueue)
    assert copy(place, migrated_postgres_url) == 0

    due = due_on_server(migrated_postgres_url)
    assert due is not None
    assert 0 < due <= 3600


def test_a_copy_that_is_killed_leaves_nothing_and_is_run_again(place: Place, migrated_postgres_url: str) -> None:
    place.prepare(lambda database: receive(database, "Hello"))
    command = ("-m", "convoq", "--config", str(place.config), "db", "copy", str(place.database), migrated_postgres_url)
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with psycopg.connect(migrated_postgres_url) as holder, psycopg.connect(migrated_postgres_url) as watcher:
        watcher.autocommit = True
        # In the middle: what refers to threads comes after them.
        holder.execute("LOCK TABLE messages IN SHARE MODE")
        with subprocess.Popen([sys.executable, *command], env=environ, cwd=place.directory) as process:
            waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'messages'::regclass"
            soon(lambda: watcher.execute(waiting).fetchone() is not None or process.poll() is not None)
            assert process.poll() is None
            process.send_signal(signal.SIGKILL)
        holder.rollback()  # until then the server waits for it, and looks for no client
        soon(lambda: watcher.execute(OTHERS).fetchone() == (0,))
        assert watcher.execute("SELECT count(*) FROM threads").fetchone() == (0,)
    assert copy(place, migrated_postgres_url) == 0
    with psycopg.connect(migrated_postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM messages").fetchone() == (1,)


def soon(condition: Callable[[], bool]) -> None:
    asyncio.run(until(condition, timeout=60))


#: Connections of convoq's, which end once the server notices that nobody is there any more.
OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'convoq' AND datname = current_database()"


def test_a_database_that_holds_rows_is_refused(
    place: Place, migrated_postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: receive(database, "Hello"))
    assert [copy(place, migrated_postgres_url), copy(place, migrated_postgres_url)] == [0, 1]
    assert "holds rows of its own already (in contacts): copy into an empty database" in capsys.readouterr().err


def test_a_database_of_something_else_is_refused_and_left_alone(
    place: Place, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE invoices (id bigint)")
    assert copy(place, postgres_url) == 1
    assert "holds tables of something else (invoices): give an empty database" in capsys.readouterr().err
    assert list(tables_of(postgres_url)) == ["invoices"]


def test_a_new_database_gets_its_tables_first(place: Place, postgres_url: str) -> None:
    place.prepare(lambda database: receive(database, "Hello"))
    assert copy(place, postgres_url) == 0
    assert len(rows_on_server(postgres_url, {"messages": ["id"]})["messages"]) == 1


def test_while_a_role_runs_on_the_file_it_is_named(
    place: Place, migrated_postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: announce(database, "work"))
    assert copy(place, migrated_postgres_url) == 1
    said = capsys.readouterr().err
    assert f"work (pid {os.getpid()} on " in said
    assert "stop all roles first" in said
    assert rows_on_server(migrated_postgres_url, {"messages": ["id"]})["messages"] == []


def test_a_file_that_is_not_there_is_one_line(
    bare: Place, migrated_postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert copy(bare, migrated_postgres_url) == 1
    assert str(bare.database) in capsys.readouterr().err
