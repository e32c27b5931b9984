"""Group commit: one thread that commits whatever waits, many callers in one transaction and one fsync."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from convoq.db.connection import BUSY_TIMEOUT_MS, Connection, connect_writer, roll_back
from convoq.db.failures import explain, is_environmental, leaves_connection_untrusted
from convoq.db.gate import Gate
from convoq.db.identity import Identity, LogRemoved, Moved, Overwritten
from convoq.db.log_readers import LARGE_LOG, log_bytes
from convoq.db.log_room import make_room
from convoq.db.scrubbing import scrub
from convoq.db.wal import WalGuard
from convoq.errors import DatabaseRefused, DatabaseUnavailable

T = TypeVar("T")
Unit = Callable[[sqlite3.Connection], T]
Settle = Callable[[T | Exception], None]

LOOK_INTERVAL = 0.01  # seconds
MAX_BATCH = 512  # units a transaction, so that no process behind the gate waits for a whole flood


class _Waiting(NamedTuple):
    unit: Unit[Any]
    settle: Settle[Any]
    durable: bool
    wanted: Callable[[], bool]


def always() -> bool:
    return True


def settle(future: asyncio.Future[T], result: T | Exception) -> None:
    """Sets the result, unless the future was cancelled meanwhile."""
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


class Writer:
    """The one connection of this process that writes. Its methods below `close` run on the writer's own thread.

    `set_up` makes the file ready when it is opened. The file's identity is looked at with each durable commit, before
    its callers hear of it; with others only LOOK_INTERVAL after the last look, for they may happen again.
    """

    def __init__(self, path: Path, gate: Gate, set_up: Callable[[sqlite3.Connection], None]) -> None:
        self._path = path
        self._gate = gate
        self._set_up = set_up
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[_Waiting] = deque()
        self._draining = False
        self._thread = Connection(self._open)
        self._connection: sqlite3.Connection | None = None  # replaced after a failed write: see _commit
        self._synchronous = "FULL"
        self._identity: Identity | None = None
        self._look_at = 0.0  # by the monotonic clock: when a commit that is not durable looks at it again
        self._refusal: DatabaseRefused | None = None  #: once the file is not the right one, it stays refused

    async def open(self) -> None:
        """Connects and sets up, holding the gate."""
        await self._thread

    def check(self) -> None:
        """Raises DatabaseRefused when another file stands where one of ours stood. May be called on any thread."""
        if self._identity is not None:
            self._identity.check()

    def post(self, unit: Unit[T], settle: Settle[T], *, durable: bool, wanted: Callable[[], bool]) -> None:
        """Has `unit` run in a shared transaction; `settle` gets its result in the event loop after the commit."""
        self._inbox.append(_Waiting(unit, settle, durable, wanted))
        if self._draining:
            return
        self._draining = True
        if durable:
            self._thread.post(self._drain)
        else:
            # No caller waits for its fsync: a moment later the ack has the claim that follows it in its transaction.
            self._loop.call_soon(self._thread.post, self._drain)

    async def checkpoint(self) -> None:
        await self._thread.run(lambda _: self._exclusively(partial(_restart_log, path=self._path)))

    async def make_room(self) -> None:
        await self._thread.run(lambda _: self._exclusively(partial(make_room, path=self._path)))

    async def scrub(self) -> bool:
        """Whether nothing of what was deleted is left in the file and its log."""
        return await self._thread.run(lambda _: self._exclusively(partial(scrub, path=self._path)))

    async def close(self) -> None:
        """Everything written before is committed. The last connection to close checkpoints, under the gate."""
        # A disk that fails to the end loses nothing here: what was committed stands in the log.
        with suppress(sqlite3.Error, DatabaseUnavailable):
            await self._thread.run(lambda _: self._end())
        if not isinstance(self._refusal, Overwritten):
            await self._thread.close()
        if self._identity is not None:
            self._identity.end()

    def _open(self) -> sqlite3.Connection:
        """Holding the gate, and nothing before SQLite may see it: it deletes a log that has lost its file."""
        with self._gate:
            guard = WalGuard(self._path)
            try:
                connection = self._connect()
                self._set_up(connection)
                self._identity = Identity(self._path, guard, self._gate)
                self._identity.check()
            except BaseException:
                if self._connection is not None:
                    self._disconnect(self._connection)
                guard.end()
                raise
            return connection

    def _connect(self) -> sqlite3.Connection:
        # Never to another file: SQLite would make a new log for it, and delete one that it finds without a file.
        self.check()
        self._connection = connect_writer(self._path)
        self._synchronous = "FULL"
        return self._connection

    def _exclusively(self, function: Callable[[sqlite3.Connection], T]) -> T:
        with self._gate:
            return function(self._connection or self._connect())

    def _end(self) -> None:
        with self._gate:
            with suppress(DatabaseRefused):
                self._verify(self._connection or self._connect())
            if isinstance(self._refusal, Overwritten):
                # Closing would move the log of the lost file into what stands there, and remove it.
                self._thread.post(partial(_keep, self._connection))
            elif self._connection is not None:
                self._disconnect(self._connection)

    def _verify(self, connection: sqlite3.Connection) -> None:
        """Raises DatabaseRefused when what was just committed went to another file than the path names."""
        self._look_at = monotonic() + LOOK_INTERVAL
        try:
            self.check()
        except DatabaseRefused as refusal:
            self._refusal = refusal
            if isinstance(refusal, LogRemoved | Moved):
                # One of the two has lost its name, and lives while it is open: what the log holds is moved into the
                # file. SQLite itself does not do that as it closes a file that was moved.
                connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
            raise

    def _disconnect(self, connection: sqlite3.Connection) -> None:
        connection.close()
        self._connection = None

    def _drain(self) -> None:
        """Commits batch after batch until nothing waits."""
        while True:
            batch = self._take()
            if batch:
                results = self._commit(batch)
                with suppress(RuntimeError):  # the loop is closed, and its callers with it
                    self._loop.call_soon_threadsafe(_settle_all, batch, results)
                continue
            self._draining = False
            # A unit may have come between the look and the flag: look once more.
            if not self._inbox:
                return
            self._draining = True

    def _take(self) -> list[_Waiting]:
        """What waits and is still wanted."""
        batch: list[_Waiting] = []
        while self._inbox and len(batch) < MAX_BATCH:
            waiting = self._inbox.popleft()
            if waiting.wanted():
                batch.append(waiting)
        return batch

    def _commit(self, batch: list[_Waiting]) -> list[Any]:
        """One result or exception for each of the batch."""
        if self._refusal is not None:
            return [self._refusal] * len(batch)
        try:
            with self._gate:
                connection = self._connection or self._connect()
                durable = any(waiting.durable for waiting in batch)
                self._set_synchronous(connection, durable=durable)
                results = _transact(connection, batch)
                if durable or monotonic() >= self._look_at:
                    self._verify(connection)
                return results
        except Exception as error:  # noqa: BLE001 # each of the batch hears of it
            if leaves_connection_untrusted(error) and self._connection is not None:
                with suppress(sqlite3.Error, DatabaseUnavailable), self._gate:
                    self._disconnect(self._connection)
            return [self._cause(error)] * len(batch)

    def _cause(self, error: Exception) -> Exception:
        """What SQLite calls a failing disk may be a file that was taken away."""
        if isinstance(error, sqlite3.Error):
            with suppress(DatabaseUnavailable):
                try:
                    self.check()
                except DatabaseRefused as refusal:
                    self._refusal = refusal
                    return refusal
        return explain(self._path, error)

    def _set_synchronous(self, connection: sqlite3.Connection, *, durable: bool) -> None:
        mode = "FULL" if durable else "NORMAL"
        if mode != self._synchronous:
            connection.execute(f"PRAGMA synchronous = {mode}")
            self._synchronous = mode


def _transact(connection: sqlite3.Connection, batch: list[_Waiting]) -> list[Any]:
    try:
        return _all_in_one(connection, batch)
    except Exception as error:
        if is_environmental(error) or len(batch) == 1:
            raise
        # One of the units refused: repeat them with a savepoint each, so that it fails alone.
        return _one_by_one(connection, batch)


def _all_in_one(connection: sqlite3.Connection, batch: list[_Waiting]) -> list[Any]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        results = [waiting.unit(connection) for waiting in batch]
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise
    return results


def _one_by_one(connection: sqlite3.Connection, batch: list[_Waiting]) -> list[Any]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        results = [_alone(connection, waiting.unit) for waiting in batch]
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise
    return results


def _alone(connection: sqlite3.Connection, unit: Unit[Any]) -> Any:
    """The unit's result, or the exception that undid it."""
    connection.execute("SAVEPOINT unit")
    try:
        result = unit(connection)
    except Exception as error:
        if is_environmental(error):
            raise  # SQLite may have undone everything, so no unit stands
        connection.execute("ROLLBACK TO unit")
        result = error
    connection.execute("RELEASE unit")
    return result


def _settle_all(batch: list[_Waiting], results: list[Any]) -> None:
    for waiting, result in zip(batch, results, strict=True):
        waiting.settle(result)


def _keep(_: sqlite3.Connection | None) -> None:
    """Until the process ends: a connection that nothing refers to any more is closed."""
    Event().wait()


def _restart_log(connection: sqlite3.Connection, path: Path) -> None:
    """Moves the log into the database, so that the next commit begins it anew, unless a reader is in it just now."""
    connection.execute("PRAGMA busy_timeout = 50")
    with suppress(sqlite3.OperationalError):
        if log_bytes(path) < LARGE_LOG:
            # Kept in its length: to overwrite is cheaper than to append.
            connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        else:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            make_room(connection, path)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
