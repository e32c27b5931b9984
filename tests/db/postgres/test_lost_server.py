"""What becomes of units when the server, the way to it or another process fails in the middle of them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading

import psycopg
import pytest
from psycopg import errors

from convoq.db.postgres.store import PostgresDatabase
from convoq.db.transaction import Transaction
from convoq.errors import DatabaseUnavailable
from tests.db.postgres.notes import count_one_more, notes_in, put
from tests.servers.postgres import END_OTHERS, running_postgres

HOLDER = """
import asyncio, sys, threading
from convoq.db.postgres.store import PostgresDatabase

def hold(tx):
    tx.execute("UPDATE schedules SET last_slot = 7")
    print("held", flush=True)
    threading.Event().wait()

async def main(url):
    store = await PostgresDatabase.open(url)
    await store.write(hold)

asyncio.run(main(*sys.argv[1:]))
"""


def cut_off_all(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(END_OTHERS)


async def test_a_connection_that_was_lost_while_nobody_used_it_is_replaced_unseen(
    store: PostgresDatabase, migrated_postgres_url: str
) -> None:
    await store.write(put, "a")
    cut_off_all(migrated_postgres_url)
    await store.write(put, "b")
    assert await notes_in(store) == ["a", "b"]


async def test_a_unit_whose_connection_is_lost_is_unavailable_and_leaves_nothing(
    store: PostgresDatabase, migrated_postgres_url: str
) -> None:
    def lose(tx: Transaction) -> None:
        put(tx, "half done")
        cut_off_all(migrated_postgres_url)
        put(tx, "more")

    with pytest.raises(DatabaseUnavailable, match="terminating connection"):
        await store.write(lose)
    assert await notes_in(store) == []


async def test_the_store_comes_back_with_its_server() -> None:
    with running_postgres() as server:
        url = server.create_database()
        async with await PostgresDatabase.open(url.replace("convoq@", "convoq:hidden@")) as store:
            await store.write(put, "before")
            server.stop(signal.SIGKILL)
            with pytest.raises(DatabaseUnavailable, match=f"postgresql://127.0.0.1:{server.port}/test_") as told:
                await store.write(put, "meanwhile")
            assert "hidden" not in str(told.value)
            server.start()
            await store.write(put, "after")
            assert await notes_in(store) == ["after", "before"]


async def test_what_a_stopped_process_holds_is_free_within_seconds(
    store: PostgresDatabase, migrated_postgres_url: str
) -> None:
    await store.write(count_one_more, "n")
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, migrated_postgres_url, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        async with asyncio.timeout(20):
            assert await holder.stdout.readline() == b"held\n"
        os.kill(holder.pid, signal.SIGSTOP)
        assert await store.write(count_one_more, "n") == 2
    finally:
        holder.kill()
        await holder.wait()


async def test_a_lock_that_is_held_on_is_unavailable_after_a_while(
    store: PostgresDatabase, migrated_postgres_url: str
) -> None:
    await store.write(count_one_more, "n")
    with psycopg.connect(migrated_postgres_url) as other:
        other.execute("LOCK TABLE schedules")
        with pytest.raises(DatabaseUnavailable, match="lock timeout"):
            await store.write(count_one_more, "n")


async def test_a_full_disk_takes_no_new_promises_until_a_write_comes_through(store: PostgresDatabase) -> None:
    def fill(_: Transaction) -> None:
        raise errors.DiskFull("could not extend file: No space left on device")

    assert store.accepts()
    with pytest.raises(DatabaseUnavailable, match="No space left"):
        await store.write(fill)
    assert not store.accepts()
    await store.read(lambda tx: tx.execute("SELECT 1").fetchone())
    assert not store.accepts()
    await store.write(put, "a")
    assert store.accepts()


async def test_units_that_always_meet_are_unavailable_in_the_end(store: PostgresDatabase) -> None:
    runs = threading.Semaphore(0)

    def meet(_: Transaction) -> None:
        runs.release()
        raise errors.SerializationFailure("could not serialize access")

    with pytest.raises(DatabaseUnavailable, match="could not serialize access, 20 times"):
        await store.write(meet)
    assert sum(runs.acquire(blocking=False) for _ in range(30)) == 20
