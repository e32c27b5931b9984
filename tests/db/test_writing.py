"""Group commit: what callers share, what they don't, and what a cancelled one leaves behind."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from convoq.db import Database
from convoq.db.writer import MAX_BATCH
from convoq.errors import DatabaseUnavailable
from tests.db.notes import executed, held_writer, notes_in, put, refuse, turns


async def test_units_that_wait_together_share_one_transaction(notes: Database) -> None:
    with executed(notes) as statements:
        async with held_writer(notes):
            writes = [asyncio.create_task(notes.write(put(str(number)))) for number in range(50)]
            await turns()
        await asyncio.gather(*writes)
    assert statements.count("COMMIT") == 2  # of the one that held the writer, and of all the others
    assert len(await notes_in(notes)) == 50


async def test_a_flood_is_committed_in_batches(notes: Database) -> None:
    with executed(notes) as statements:
        async with held_writer(notes):
            writes = [asyncio.create_task(notes.write(put(str(number)))) for number in range(2 * MAX_BATCH + 1)]
            await turns()
        await asyncio.gather(*writes)
    assert statements.count("COMMIT") == 1 + 3


async def test_units_run_in_the_order_they_came(notes: Database) -> None:
    await asyncio.gather(*(notes.write(put(str(number))) for number in range(100)))
    assert await notes_in(notes) == [str(number) for number in range(100)]


async def test_a_failing_unit_fails_alone(notes: Database) -> None:
    async with held_writer(notes):
        units = [put("a"), refuse, put("b"), refuse, put("c")]
        writes = [asyncio.create_task(notes.write(unit)) for unit in units]
        await turns()
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), ValueError, type(None), ValueError, type(None)]
    assert await notes_in(notes) == ["a", "b", "c"]


async def test_a_units_own_database_error_reaches_its_caller_as_it_is(notes: Database) -> None:
    await notes.write(put("a"))
    with pytest.raises(sqlite3.IntegrityError):
        await notes.write(put("a"))


async def test_the_writer_goes_on_after_a_failed_unit(notes: Database) -> None:
    with pytest.raises(ValueError, match="no"):
        await notes.write(refuse)
    await notes.write(put("after"))
    assert await notes_in(notes) == ["after"]


async def test_write_returns_the_units_result_after_its_commit(notes: Database) -> None:
    def unit(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO notes VALUES ('there')")
        return 42

    with sqlite3.connect(notes.path) as outsider:
        assert await notes.write(unit) == 42
        assert outsider.execute("SELECT text FROM notes").fetchall() == [("there",)]
    outsider.close()


async def test_what_is_not_committed_is_seen_by_nobody(notes: Database) -> None:
    async with held_writer(notes):
        write = asyncio.create_task(notes.write(put("later")))
        await turns()
        assert await notes_in(notes) == []
    await write
    assert await notes_in(notes) == ["later"]


async def test_a_durable_write_is_synced_in_full(notes: Database) -> None:
    with executed(notes) as statements:
        await notes.write(put("a"), durable=False)
        await notes.write(put("b"), durable=True)
    assert [each for each in statements if "synchronous" in each] == [
        "PRAGMA synchronous = NORMAL",
        "PRAGMA synchronous = FULL",
    ]


async def test_one_durable_unit_makes_its_whole_batch_durable(notes: Database) -> None:
    with executed(notes) as statements:
        async with held_writer(notes):
            writes = [asyncio.create_task(notes.write(put(str(n)), durable=n == 2)) for n in range(4)]
            await turns()
        await asyncio.gather(*writes)
    assert "PRAGMA synchronous = NORMAL" not in statements


async def test_a_cancelled_caller_that_still_waits_writes_nothing(notes: Database) -> None:
    async with held_writer(notes):
        write = asyncio.create_task(notes.write(put("unwanted")))
        await turns()
        write.cancel()
        await turns()
    await notes.write(put("wanted"))
    assert await notes_in(notes) == ["wanted"]


async def test_random_cancellation_never_leaves_a_transaction_or_the_gate_behind(notes: Database) -> None:
    def pair(number: int) -> None:
        def unit(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO notes VALUES (?)", (f"{number}a",))
            connection.execute("INSERT INTO notes VALUES (?)", (f"{number}b",))

        writes.append(asyncio.create_task(notes.write(unit, durable=False)))

    chance = random.Random(1)
    completed = set()
    for trial in range(400):
        writes: list[asyncio.Task[None]] = []
        for number in range(4 * trial, 4 * trial + 4):
            pair(number)
        await turns(chance.randrange(6))
        for write in chance.sample(writes, 2):
            write.cancel()
        for number, write in enumerate(writes, 4 * trial):
            with suppress(asyncio.CancelledError):
                await write
                completed.add(number)
        connection = notes._writer._connection
        assert connection is not None
        await notes.write(lambda _: None)  # behind whatever the cancelled ones had begun
        assert not connection.in_transaction
    found = await notes_in(notes)
    whole = {text[:-1] for text in found}
    assert sorted(found) == sorted(f"{number}{half}" for number in whole for half in "ab")
    assert {str(number) for number in completed} <= whole
    assert 800 <= len(completed) < 1600  # two of four were never cancelled; of the others, some came too late to be
    with sqlite3.connect(notes.path, timeout=0, isolation_level=None) as outsider:
        outsider.execute("BEGIN IMMEDIATE")
        outsider.execute("ROLLBACK")
    outsider.close()


async def test_a_read_sees_one_snapshot(notes: Database) -> None:
    def unit(connection: sqlite3.Connection) -> tuple[int, int]:
        (before,) = connection.execute("SELECT count(*) FROM notes").fetchone()
        with sqlite3.connect(notes.path, isolation_level=None) as other:
            other.execute("INSERT INTO notes VALUES ('between')")
        other.close()
        (after,) = connection.execute("SELECT count(*) FROM notes").fetchone()
        return before, after

    assert await notes.read(unit) == (0, 0)
    assert await notes_in(notes) == ["between"]


async def test_a_read_cannot_write(notes: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="cannot be written"):
        await notes.read(put("no"))


async def test_a_read_runs_beside_a_writer_that_is_busy(notes: Database) -> None:
    async with held_writer(notes), asyncio.timeout(5):
        assert await notes_in(notes) == []


async def test_a_failed_read_leaves_the_reader_usable(notes: Database) -> None:
    def fail(_: sqlite3.Connection) -> None:
        raise LookupError("no")

    with pytest.raises(LookupError):
        await notes.read(fail)
    assert await notes_in(notes) == []


async def test_changes_differs_after_a_commit(notes: Database) -> None:
    before = await notes.changes()
    assert await notes.changes() == before
    await notes.write(put("a"))
    assert await notes.changes() != before


async def test_a_write_that_changes_nothing_is_no_change(notes: Database) -> None:
    before = await notes.changes()
    await notes.write(lambda _: None)
    assert await notes.changes() == before


async def test_two_databases_of_one_file_never_see_it_locked(notes: Database, tmp_path: Path) -> None:
    async with await Database.open(tmp_path / "convoq.db", clock=notes.clock) as other:

        async def write(database: Database, name: str) -> None:
            for number in range(100):
                await database.write(put(f"{name}{number}"), durable=False)

        await asyncio.gather(*(write(each, name) for each, name in ((notes, "a"), (notes, "b"), (other, "c"))))
        assert len(await notes_in(other)) == 300


async def test_a_read_beside_waits_for_no_other_read(notes: Database) -> None:
    let_go = threading.Event()
    held = asyncio.create_task(notes.read(lambda _: let_go.wait()))
    await turns()
    try:
        assert await notes.read_beside(lambda tx: tx.execute("SELECT count(*) FROM notes").fetchone()) == (0,)
    finally:
        let_go.set()
    assert await held
