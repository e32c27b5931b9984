"""The store: units run synchronously, each in a transaction of its own, on a few connections side by side."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Final, Self, TypeVar, TypeVarTuple

import psycopg
from psycopg import errors

from convoq.clock import Clock, EngineClock, since_boot
from convoq.db.birth import OpenMode
from convoq.db.postgres import migrations, requirements
from convoq.db.postgres.connection import Connection, Pool, Server, Slot
from convoq.db.postgres.failures import CONFLICTS, first_line, is_environmental, refused, unavailable
from convoq.db.postgres.scrubbing import scrub
from convoq.db.postgres.transaction import PostgresTransaction
from convoq.db.store import Footprint
from convoq.db.transaction import Transaction
from convoq.db.writer import settle
from convoq.errors import ConvoqError, DatabaseUnavailable

T = TypeVar("T")
Args = TypeVarTuple("Args")

MOST_ATTEMPTS: Final = 20  # of a unit that meets others
LONGEST_PAUSE: Final = 0.05  # seconds between two of them
MOST_KEY_CONFLICTS: Final = 3  # a key that is still taken then is no race

# With each transaction, not with the connection: behind a pooler that is another client's next. A process that is
# stopped inside one must not hold its rows for long. Sequential scans would lock whole tables against other writers;
# one that cannot be avoided counts as so dear that it would be compiled first, for 0.1 s.
LIMITS: Final = "SET LOCAL idle_in_transaction_session_timeout = '3s'; SET LOCAL lock_timeout = '5s'"
WRITE: Final = f"BEGIN ISOLATION LEVEL SERIALIZABLE; {LIMITS}; SET LOCAL enable_seqscan = off; SET LOCAL jit = off"
WRITE_UNFLUSHED: Final = f"{WRITE}; SET LOCAL synchronous_commit = off"
READ: Final = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {LIMITS}"
NOW: Final = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"

PLACE: Final = """
    SELECT has_function_privilege('pg_control_system()', 'EXECUTE'), oid::text || ' ' || current_schema()
    FROM pg_database WHERE datname = current_database()
"""
SYSTEM: Final = "SELECT system_identifier::text FROM pg_control_system()"


class PostgresDatabase:
    """The contract of db.store on PostgreSQL.

    Transactions are serializable: those that were in each other's way run again, as units by their contract may.
    """

    has_text_index = False  #: FTS5 is SQLite's

    def __init__(self, server: Server, clock: Clock | None, *, pool: int) -> None:
        self.server = server
        self.location = server.location
        self._engine_clock = EngineClock()
        self.clock: Clock = clock or self._engine_clock  #: the queue's clock
        self._keeps_time = clock is None
        self._pool = Pool(pool, server.connect)
        self._is_full = False
        self.newest_schema = migrations.known()[-1].version
        self.found_schema = 0  #: what the database had before it was migrated; 0: it was created

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        password: str | None = None,
        mode: OpenMode = OpenMode.ROLE,
        clock: Clock | None = None,
        pool: int = 4,
        direct_url: str | None = None,
    ) -> Self:
        """Opens the database; the mode says whether it may be created and migrated.

        `pool` connections are used at most; with `direct_url` through a transaction pooler, which that leads around.
        Raises DatabaseRefused when it must not be used (newer, not UTF-8, not durable, a standby, no access),
        DatabaseUnavailable when it cannot be used just now, ConvoqError when EXISTING finds none or one that is to be
        migrated first.
        """
        database = cls(Server(url=url, password=password, direct_url=direct_url), clock, pool=pool)
        try:
            await database._run(partial(database._set_up, mode))
        except BaseException:  # a cancelled start, too, leaves no connection behind
            await database.close()
            raise
        return database

    async def write(self, unit: Callable[[Transaction, *Args], T], *args: *Args, durable: bool = True) -> T:
        begin = WRITE if durable else WRITE_UNFLUSHED
        return await self._run(lambda slot: self._transact(slot, begin, unit, *args))

    async def read(self, unit: Callable[[Transaction, *Args], T], *args: *Args) -> T:
        return await self._run(lambda slot: self._transact(slot, READ, unit, *args))

    async def identity(self) -> str:
        """A standby that was promoted has its primary's; what was restored from a dump has its own."""

        def unit(tx: Transaction) -> str:
            [may_ask, place] = tx.execute(PLACE).fetchone()
            return f"{tx.execute(SYSTEM).fetchone()[0] if may_ask else ''} {place}"

        return await self.read(unit)

    def accepts(self) -> bool:
        """No server tells how much room it has; one whose disk was full has room again once a write came through."""
        return not self._is_full

    async def check(self) -> None:
        await self._run(self._check)

    async def changes(self) -> Hashable:
        # Which transactions were over at that moment, of all of the server's databases.
        return await self.read(lambda tx: tx.execute("SELECT pg_current_snapshot()::text").fetchone())

    async def make_room(self) -> None:
        """Its log is the server's."""

    async def tidy(self) -> None:
        """It is tidied by the server's autovacuum."""

    async def scrub(self) -> str | None:
        return await asyncio.to_thread(self._scrub)

    def _scrub(self) -> str | None:
        try:
            with self.server.connect() as connection:
                return scrub(connection)
        except psycopg.Error as error:
            return f"{self.location}: {first_line(error)}"

    async def footprint(self) -> Footprint:
        [size] = await self.read(lambda tx: tx.execute("SELECT pg_database_size(current_database())").fetchone())
        return Footprint(size, log=None)

    async def close(self) -> None:
        await self._pool.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run(self, function: Callable[[Slot], T]) -> T:
        """On one of the pool's threads, unless its caller was cancelled before."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def job(slot: Slot) -> None:
            if future.cancelled():
                return
            try:
                result: T | Exception = function(slot)
            except Exception as error:  # noqa: BLE001 # its caller hears of it
                result = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, future, result)

        self._pool.post(job)
        return await future

    # --- On the pool's threads

    def _transact(self, slot: Slot, begin: str, unit: Callable[[Transaction, *Args], T], *args: *Args) -> T:
        attempts = 0
        while True:
            attempts += 1
            try:
                return self._attempt(slot, begin, unit, *args)
            except CONFLICTS as error:
                if isinstance(error, errors.UniqueViolation) and attempts == MOST_KEY_CONFLICTS:
                    raise
                if attempts == MOST_ATTEMPTS:
                    raise DatabaseUnavailable(f"{self.location}: {first_line(error)}, {attempts} times") from error
            time.sleep(random.uniform(0, min(LONGEST_PAUSE, 0.001 * 2**attempts)))  # noqa: S311 # only to part them

    def _attempt(self, slot: Slot, begin: str, unit: Callable[[Transaction, *Args], T], *args: *Args) -> T:
        try:
            connection = self._begin(slot, begin)
            result = unit(PostgresTransaction(connection), *args)
            _commit(connection)
        except BaseException as error:
            _roll_back(slot)
            if isinstance(error, psycopg.Error) and not isinstance(error, CONFLICTS) and is_environmental(error):
                self._is_full = isinstance(error, errors.DiskFull)
                raise unavailable(self.location, error) from error
            raise
        if begin is not READ:
            self._is_full = False
        return result

    def _begin(self, slot: Slot, begin: str) -> Connection:
        """A connection that was lost while it lay idle is replaced here, where nothing is half done."""
        was_connected = slot.is_connected
        try:
            return self._try_to_begin(slot, begin)
        except psycopg.OperationalError:
            slot.disconnect()
            if not was_connected:
                raise
        return self._try_to_begin(slot, begin)

    def _try_to_begin(self, slot: Slot, begin: str) -> Connection:
        connection = slot.connection()
        if self._keeps_time and self._engine_clock.is_stale:
            self._compare_clocks(connection)
        connection.execute(begin.encode(), prepare=False)
        return connection

    def _compare_clocks(self, connection: Connection) -> None:
        asked = since_boot()
        told: tuple[Any, ...] | None = connection.execute(NOW).fetchone()
        if told is not None:
            self._engine_clock.compare(told[0], asked=asked, answered=since_boot())

    def _set_up(self, mode: OpenMode, slot: Slot) -> None:
        try:
            connection = slot.connection()
            requirements.check(self.location, connection, has_direct_url=bool(self.server.direct_url))
            found = migrations.read_schema(connection)
            migrations.check(found)
            if mode is not OpenMode.EXISTING:
                found = migrations.migrate(connection)
            elif found.version < self.newest_schema:
                raise ConvoqError(_unmigrated(self.location, found.version, self.newest_schema))
            self.found_schema = found.version
            if self._keeps_time:
                self._compare_clocks(connection)
        except psycopg.Error as error:
            slot.disconnect()
            raise refused(self.location, error) or unavailable(self.location, error) from error

    def _check(self, slot: Slot) -> None:
        def unit(_: Transaction) -> None:
            migrations.check(migrations.read_schema(slot.connection()))

        self._transact(slot, READ, unit)


def _commit(connection: Connection) -> None:
    # PostgreSQL answers a COMMIT of what has failed with ROLLBACK, and no error.
    if (said := connection.execute("COMMIT", prepare=False).statusmessage) != "COMMIT":
        raise RuntimeError(f"a unit went on after an error, and was undone: {said}")


def _roll_back(slot: Slot) -> None:
    """Ends an open transaction; a connection on which that fails is replaced."""
    if not slot.is_connected:
        return
    try:
        slot.connection().rollback()
    except psycopg.Error:
        slot.disconnect()


def _unmigrated(location: str, version: int, newest: int) -> str:
    if not version:
        return f"no database of convoq's at {location} yet: start convoq serve, or run convoq db migrate"
    return f"{location}: has schema {version}, this convoq has {newest}: run convoq db migrate"
