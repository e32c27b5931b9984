"""The database: one writer with group commit, a reader beside it, opened and closed with care."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Self, TypeVar, TypeVarTuple

from convoq.clock import BOOT_ID, Boot, BootClock, Clock, WallClock
from convoq.db import migrations, scrubbing
from convoq.db.anchor import anchor
from convoq.db.birth import GATE, OpenMode, Place, prepare
from convoq.db.blocking import BlockingWriter
from convoq.db.connection import Connection, connect_reader, roll_back
from convoq.db.failures import damaged, explain
from convoq.db.files import FreeSpace
from convoq.db.gate import Gate
from convoq.db.log_readers import END_READER, HELD_BY, examine_log
from convoq.db.store import Footprint
from convoq.db.writer import Settle, Unit, Writer, always, settle
from convoq.errors import ConvoqError, DatabaseRefused, DatabaseUnavailable
from convoq.logs import log
from convoq.text import size

T = TypeVar("T")
Args = TypeVarTuple("Args")

QUICK_CHECK_BYTES = 32 << 20  # what can be checked at start without delaying it; `convoq db check` checks any size


class Database:
    """One SQLite file in WAL mode.

    `write` returns after the commit (fsynced unless said otherwise); many callers share one transaction. Nothing awaits
    inside a transaction and a cancelled caller leaves nothing half done: its unit ran whole or not at all.
    """

    has_text_index = True

    def __init__(
        self, place: Place, clock: Clock, space: FreeSpace, *, mode: OpenMode, gate_timeout: float | None
    ) -> None:
        self.path = place.path
        self.location = str(place.path)
        self.run_directory = place.run_directory  #: the gate, the workers' liveness locks and their sockets
        self.clock = clock  #: the queue's clock
        self._space = space
        self._mode = mode
        self._created = place.created
        gate_path = place.run_directory / GATE
        self._gate = Gate(gate_path, timeout=gate_timeout)
        self._writer = Writer(self.path, self._gate, self._set_up)
        self._blocking = BlockingWriter(self.path, Gate(gate_path, timeout=gate_timeout), self._writer.check)
        self._reader = Connection(lambda: connect_reader(self.path))
        self._open: list[Writer | Connection] = []
        self.newest_schema = migrations.known()[-1].version
        self.found_schema = 0  #: what the file had before it was migrated; 0: it was created

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        mode: OpenMode = OpenMode.ROLE,
        clock: Clock | None = None,
        min_free_mb: int = 0,
        gate_timeout: float | None = None,
    ) -> Self:
        """Opens the file; the mode says whether it may be created and migrated.

        With `gate_timeout` (seconds) neither this nor a write waits longer for another process.

        Raises DatabaseRefused when it must not be used (lost, newer, damaged, on a network filesystem, beside the log
        of another file), DatabaseUnavailable when it cannot be used just now, PlatformUnsupported, ConvoqError when
        EXISTING finds none or one that is to be migrated first.
        """
        boot = Boot.current()  # first: where there is no such thing, nothing is left behind
        place = prepare(path, mode)
        space = FreeSpace(place.path.parent, min_free_mb)
        database = cls(place, clock or WallClock(), space, mode=mode, gate_timeout=gate_timeout)
        try:
            await database._connect()
            if clock is None:
                database.clock = BootClock(await database.write(anchor, boot))
        except BaseException:
            await database.close()
            raise
        return database

    async def write(self, unit: Callable[[sqlite3.Connection, *Args], T], *args: *Args, durable: bool = True) -> T:
        """Runs `unit` with these arguments in a transaction and returns its result after the commit.

        A unit is a plain function of the transaction that may be run again: it changes nothing but the database. An
        exception of its own undoes it alone and reaches its caller. With `durable=False` the commit may be lost in a
        power cut (not in a crash); that is for what may harmlessly happen again. Raises DatabaseUnavailable.
        """
        return await self.submit(unit, *args, durable=durable)

    def write_blocking(self, unit: Callable[[sqlite3.Connection, *Args], T], *args: *Args) -> T:
        """As `write` with `durable=False`, but blocking: for a thread that must not depend on the event loop."""
        return self._blocking.write(unit, *args)

    def submit(
        self, unit: Callable[[sqlite3.Connection, *Args], T], *args: *Args, durable: bool = True
    ) -> asyncio.Future[T]:
        """As `write`, but at once: units run in the order in which they are submitted."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.post(
            lambda connection: unit(connection, *args),
            partial(settle, future),
            durable=durable,
            wanted=lambda: not future.cancelled(),
        )
        return future

    def post(
        self, unit: Unit[T], settle: Settle[T], *, durable: bool = True, wanted: Callable[[], bool] = always
    ) -> None:
        """As `write`, for a caller with more than one waiter: `settle` gets the result or the exception.

        It is called in the event loop and must not raise. A unit that is no longer `wanted` is left out.
        """
        self._refuse_if_closed()
        self._writer.post(unit, settle, durable=durable, wanted=wanted)

    async def identity(self) -> str:
        """All who use it are on its machine, also in containers: they share the boot, and see the same file."""
        found = self.path.stat()
        return f"{BOOT_ID.read_text().strip()} {found.st_dev} {found.st_ino}"

    async def read(self, unit: Callable[[sqlite3.Connection, *Args], T], *args: *Args) -> T:
        """Runs `unit` with these arguments on one snapshot, beside any writer. Raises DatabaseUnavailable."""
        self._refuse_if_closed()
        with self._explained():
            return await self._reader.run(lambda connection: _snapshot(connection, unit, *args))

    async def read_beside(self, unit: Callable[[sqlite3.Connection, *Args], T], *args: *Args) -> T:
        """As `read`, in a thread of its own: for what reads for long, which no other read has to wait for."""
        self._refuse_if_closed()
        with self._explained():
            reader = Connection(lambda: connect_reader(self.path))
            async with reader:
                return await reader.run(lambda connection: _snapshot(connection, unit, *args))

    def accepts(self) -> bool:
        """Whether the disk has room for new promises. Cheap: asked for every webhook."""
        return self._space.enough()

    async def check(self) -> None:
        """Raises DatabaseRefused when the file was replaced, or migrated by a newer convoq, while we run."""
        self._refuse_if_closed()
        self._writer.check()
        await self.read(lambda connection: migrations.check_version(connection, self.newest_schema))

    async def changes(self) -> int:
        """A number that differs whenever another connection has committed since. Raises DatabaseUnavailable."""
        self._refuse_if_closed()
        with self._explained():
            [version] = await self._reader.run(lambda reader: reader.execute("PRAGMA data_version").fetchone())
        return int(version)

    async def make_room(self) -> None:
        """Has the log a length that its commits need not add to, where the disk has room.

        For processes that will commit for long. Raises DatabaseUnavailable.
        """
        self._refuse_if_closed()
        if self.accepts():
            with self._explained():
                await self._writer.make_room()

    async def tidy(self) -> None:
        """Moves the log into the database, to begin it anew, unless a reader is in it just now.

        Who keeps a large log from that is said in the log of this process.
        """
        self._refuse_if_closed()
        with self._explained():
            await self._writer.checkpoint()
        state = await examine_log(self.path)
        if state.large:
            holders = [str(reader) for reader in state.readers]
            log.warning("database.log_held", bytes=state.bytes, holders=holders, remedy=END_READER)

    async def scrub(self) -> str | None:
        """Writes the file anew without what was deleted, and empties the log: all writers wait for as long."""
        self._refuse_if_closed()
        if (missing := scrubbing.missing_room(self.path)) > 0:
            return f"{self.path} is to be written anew, which needs {size(missing)} more on its disk"
        with self._explained():
            if await self._writer.scrub():
                return None
        state = await examine_log(self.path, large=1)
        return f"{self.path}: {HELD_BY} {state.holders or 'a process that cannot be seen from here'}"

    async def footprint(self) -> Footprint:
        return Footprint(self.path.stat().st_size, await examine_log(self.path))

    async def close(self) -> None:
        """Ends the connections; what was written before is committed."""
        opened, self._open = self._open, []  # from here on every verb is refused
        try:
            await self._close_blocking()
            for connection in reversed(opened):
                await connection.close()
        finally:
            self._gate.close()

    async def _close_blocking(self) -> None:
        if self._blocking.is_connected:
            await asyncio.to_thread(self._blocking.close)  # it may have to wait for the gate
        else:
            self._blocking.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _connect(self) -> None:
        with self._explained():
            await self._writer.open()
            # The writer closes last: it checkpoints, which needs every reader gone.
            self._open.append(self._writer)
            await self._reader
            self._open.append(self._reader)
            # Read once, it has the log open: while it has, no other process ends the log and begins a new one.
            await self._reader.run(lambda reader: reader.execute("PRAGMA data_version").fetchone())
            # On the reader, so that no other process waits at the gate for it.
            await self._reader.run(self._check_soundness)

    def _check_soundness(self, connection: sqlite3.Connection) -> None:
        if self.path.stat().st_size <= QUICK_CHECK_BYTES:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise damaged(self.path, verdict)

    def _set_up(self, connection: sqlite3.Connection) -> None:
        version = migrations.check_version(connection, self.newest_schema)
        self.found_schema = 0 if self._created else version
        if not version:
            raise DatabaseRefused(
                f"{self.path}: is a database that convoq did not make: put the right file back or restore a backup"
            )
        if self._mode is OpenMode.EXISTING and version < self.newest_schema:
            raise ConvoqError(
                f"{self.path}: has schema {version}, this convoq has {self.newest_schema}: restart the three roles "
                "with this version, or run convoq db migrate"
            )
        connection.execute("PRAGMA journal_mode = WAL")
        migrations.migrate(connection)

    def _refuse_if_closed(self) -> None:
        if not self._open:
            raise DatabaseUnavailable(f"{self.path}: is closed")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise explain(self.path, error) from error


def _snapshot(connection: sqlite3.Connection, unit: Callable[[sqlite3.Connection, *Args], T], *args: *Args) -> T:
    connection.execute("BEGIN")
    try:
        return unit(connection, *args)
    finally:
        roll_back(connection)
