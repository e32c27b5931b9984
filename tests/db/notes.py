"""What the database's tests share: notes to write, a writer that is held, and what the writer executes."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from convoq.db import Database
from convoq.loopback.waiting import until

Unit = Callable[[sqlite3.Connection], None]
ROOT = Path(__file__).parents[2]
HOLDER = """
import asyncio, sys
from pathlib import Path
from convoq.db import Database
from tests.db.notes import put

async def main(path):
    database = await Database.open(Path(path))
    await database.make_room()
    await database.write(lambda c: c.execute("CREATE TABLE IF NOT EXISTS notes (text TEXT UNIQUE) STRICT"))
    await database.write(put("acknowledged"))
    print("written", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def running(path: Path) -> asyncio.subprocess.Process:
    """A process that has the database open and has acknowledged a note, which stands in the log."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, str(path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        assert await process.stdout.readline() == b"written\n"
    return process


async def killed(path: Path) -> None:
    """Leaves what a kill -9 leaves: the file, its log with the note in it, the shared memory, the run directory."""
    process = await running(path)
    process.kill()
    await process.wait()


FROZEN = """
import asyncio, sys
from pathlib import Path
from convoq.db import Database

def hold(_):
    print("holds", flush=True)
    sys.stdin.readline()

async def main(path):
    async with await Database.open(Path(path)) as database:
        await database.write(hold)

asyncio.run(main(*sys.argv[1:]))
"""


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def frozen(path: Path) -> asyncio.subprocess.Process:
    """A process that was stopped inside a transaction."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FROZEN, str(path),
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(20):
        assert await process.stdout.readline() == b"holds\n"
    process.send_signal(signal.SIGSTOP)
    await until(lambda: _is_stopped(process.pid), timeout=20)
    return process


async def continued(process: asyncio.subprocess.Process) -> None:
    process.send_signal(signal.SIGCONT)
    assert process.stdin is not None
    process.stdin.write(b"\n")
    async with asyncio.timeout(20):
        assert await process.wait() == 0


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
