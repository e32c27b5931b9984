"""What the database's tests share: notes to write, a writer that is held, and what the writer executes."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from convoq.db import Database

Unit = Callable[[sqlite3.Connection], None]


def put(text: str) -> Unit:
    """Writes one note; the same one twice is refused."""

    def unit(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO notes VALUES (?)", (text,))

    return unit


def refuse(connection: sqlite3.Connection) -> None:
    """Writes, then fails of its own."""
    connection.execute("INSERT INTO notes VALUES ('refused')")
    raise ValueError("no")


async def notes_in(database: Database) -> list[str]:
    def unit(connection: sqlite3.Connection) -> list[str]:
        return [text for (text,) in connection.execute("SELECT text FROM notes ORDER BY rowid")]

    return await database.read(unit)


@asynccontextmanager
async def held_writer(database: Database) -> AsyncIterator[None]:
    """Inside, the writer's thread is in the middle of a transaction; whatever is written waits."""
    begun, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold(_: sqlite3.Connection) -> None:
        loop.call_soon_threadsafe(begun.set)
        release.wait(10)

    holding = asyncio.create_task(database.write(hold))
    try:
        await begun.wait()
        yield
    finally:
        release.set()
        await holding


@contextmanager
def executed(database: Database) -> Iterator[list[str]]:
    """The statements that the writer executes from now on."""
    statements: list[str] = []
    connection = database._writer._connection
    assert connection is not None
    connection.set_trace_callback(statements.append)
    try:
        yield statements
    finally:
        with suppress(sqlite3.ProgrammingError):  # closed meanwhile
            connection.set_trace_callback(None)


async def turns(count: int = 3) -> None:
    """Lets everything run that is ready in the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)
