"""Units on PostgreSQL: each whole or not at all, side by side as if one after the other."""

from __future__ import annotations

import asyncio
import enum
import threading
from typing import Any

import pytest
from psycopg import errors

from convoq.db.postgres.store import PostgresDatabase
from convoq.db.transaction import Transaction
from convoq.errors import DatabaseUnavailable
from tests.db.postgres.notes import count_one_more, notes_in, put, put_and_refuse


class Word(enum.StrEnum):
    ONE = "one of them"


async def test_a_unit_that_raises_leaves_nothing_and_its_error_reaches_its_caller(store: PostgresDatabase) -> None:
    with pytest.raises(ValueError, match="no"):
        await store.write(put_and_refuse, "a")
    await store.write(put, "b")
    assert await notes_in(store) == ["b"]


async def test_units_that_meet_run_as_if_one_after_the_other(store: PostgresDatabase) -> None:
    counted = await asyncio.gather(*(store.write(count_one_more, "n") for _ in range(24)))
    assert sorted(counted) == list(range(1, 25))


async def test_a_unit_that_lost_its_race_for_a_key_runs_again(store: PostgresDatabase) -> None:
    together = threading.Barrier(2, timeout=20)
    runs = []

    def put_once(tx: Transaction) -> bool:
        runs.append(1)
        known = tx.execute("SELECT 1 FROM schedules WHERE name = 'a'").fetchone()
        if len(runs) <= 2:
            together.wait()
        if known is None:
            put(tx, "a")
        return known is None

    assert sorted(await asyncio.gather(store.write(put_once), store.write(put_once))) == [False, True]


async def test_a_key_that_is_taken_for_good_is_the_units_own_error(store: PostgresDatabase) -> None:
    await store.write(put, "a")
    with pytest.raises(errors.UniqueViolation):
        await store.write(put, "a")


async def test_a_unit_that_goes_on_after_an_error_is_undone_and_says_so(store: PostgresDatabase) -> None:
    def swallow(tx: Transaction) -> None:
        put(tx, "a")
        with pytest.raises(errors.UndefinedTable):
            tx.execute("SELECT 1 FROM nowhere")

    with pytest.raises(RuntimeError, match="was undone"):
        await store.write(swallow)
    assert await notes_in(store) == []


async def test_a_read_sees_one_snapshot_beside_a_writer(store: PostgresDatabase) -> None:
    begun, written = threading.Event(), threading.Event()

    def read_twice(tx: Transaction) -> tuple[Any, Any]:
        before = tx.execute("SELECT count(*) FROM schedules").fetchone()
        begun.set()
        assert written.wait(20)
        return before, tx.execute("SELECT count(*) FROM schedules").fetchone()

    reading = asyncio.create_task(store.read(read_twice))
    assert await asyncio.to_thread(begun.wait, 20)
    await store.write(put, "a")
    written.set()
    assert await reading == ((0,), (0,))


async def test_a_cancelled_caller_leaves_nothing_half_done(migrated_postgres_url: str) -> None:
    async with await PostgresDatabase.open(migrated_postgres_url, pool=1) as store:
        held, let_go = threading.Event(), threading.Event()

        def hold(_: Transaction) -> None:
            held.set()
            assert let_go.wait(20)

        holding = asyncio.create_task(store.write(hold))
        waiting = asyncio.create_task(store.write(put, "never begun"))
        assert await asyncio.to_thread(held.wait, 20)
        waiting.cancel()
        await asyncio.wait([waiting])
        let_go.set()
        await holding
        assert await notes_in(store) == []


async def test_only_a_durable_commit_waits_for_the_disk(store: PostgresDatabase) -> None:
    def asked(tx: Transaction) -> str:
        [value] = tx.execute("SELECT current_setting('synchronous_commit')").fetchone()
        return str(value)

    assert [await store.write(asked), await store.write(asked, durable=False)] == ["on", "off"]


async def test_what_was_written_before_the_close_is_committed(migrated_postgres_url: str) -> None:
    store = await PostgresDatabase.open(migrated_postgres_url)
    writes = [asyncio.create_task(store.write(put, str(number))) for number in range(9)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*writes)
    async with await PostgresDatabase.open(migrated_postgres_url) as again:
        assert len(await notes_in(again)) == 9


async def test_a_closed_store_refuses(store: PostgresDatabase) -> None:
    await store.close()
    with pytest.raises(DatabaseUnavailable, match="closed"):
        await store.write(put, "a")


async def test_values_come_back_as_sqlite_has_them(store: PostgresDatabase) -> None:
    def roundtrip(tx: Transaction) -> Any:
        tx.execute("INSERT INTO schedules VALUES (?, ?, ?)", (Word.ONE, "before\0after", True))
        return tx.execute("SELECT name, spec, last_slot FROM schedules").fetchone()

    assert await store.write(roundtrip) == ("one of them", "before\ufffdafter", 1)
