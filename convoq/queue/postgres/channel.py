"""The queue's own connections: what is posted on one runs in the order of the posts."""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import psycopg

from convoq.db.postgres.connection import AsyncConnection
from convoq.db.postgres.failures import CONFLICTS, is_environmental, unavailable
from convoq.queue.postgres.calls import Call, Row

Connect = Callable[[], Awaitable[AsyncConnection]]

MOST_TOGETHER: Final = 64  # calls in one transaction
MOST_CONFLICTS: Final = 5  # with other transactions, before a call fails


class Channel:
    """One connection, opened when it is first needed, and again after it was lost."""

    def __init__(self, connect: Connect, location: str) -> None:
        self._connect = connect
        self._location = location
        self._connection: AsyncConnection | None = None
        self._waiting: deque[Call] = deque()
        self._running: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    @property
    def last_waiting(self) -> Call | None:
        """The newest that has not been sent: more may be added to it."""
        return self._waiting[-1] if self._waiting else None

    def post(self, call: Call) -> None:
        """It runs whatever becomes of its caller, unless no caller waits for it any more when its turn comes."""
        self._waiting.append(call)
        if self._running is None:
            self._running = asyncio.create_task(self._run())

    async def close(self) -> None:
        """What was posted before is done."""
        while self._running is not None:
            await asyncio.wait((self._running,))
        if self._connection is not None:
            await _close(self._connection)

    async def _run(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # the tasks that the last calls woke join the next ones
                calls = self._take()
                if calls:
                    await self._settle(calls)
        finally:
            self._running = None

    def _take(self) -> list[Call]:
        """Those that share a transaction, so that what waits costs one way to the server and one commit."""
        calls: list[Call] = []
        while self._waiting and len(calls) < MOST_TOGETHER and (not calls or self._waiting[0].shares):
            call = self._waiting.popleft()
            if call.is_wanted():
                calls.append(call)
            if not call.shares:
                break
        return calls

    async def _settle(self, calls: Sequence[Call]) -> None:
        try:
            results = await self._execute(calls)
            for call, rows in zip(calls, results, strict=True):
                call.settle(rows)
        except psycopg.Error as error:
            parts = [part for call in calls for part in call.parts()]
            if is_environmental(error) or len(parts) == 1:
                _fail(calls, unavailable(self._location, error))
                return
            for part in parts:
                await self._settle((part,))
        except Exception as error:  # noqa: BLE001 # each waiting call raises it
            _fail(calls, error)

    async def _execute(self, calls: Sequence[Call]) -> list[list[Row]]:
        conflicts = 0
        while True:
            connection = await self._connected()
            try:
                return await _run_together(connection, calls)
            except CONFLICTS:
                conflicts += 1
                if conflicts == MOST_CONFLICTS:
                    raise

    async def _connected(self) -> AsyncConnection:
        if self._connection is not None and (self._connection.closed or _has_ended(self._connection)):
            await _close(self._connection)
            self._connection = None
        if self._connection is None:
            self._connection = await self._connect()
        return self._connection


async def _run_together(connection: AsyncConnection, calls: Sequence[Call]) -> list[list[Row]]:
    if len(calls) == 1:
        cursor = await connection.execute(calls[0].sql, calls[0].values())
        return [await cursor.fetchall()]
    async with connection.pipeline():
        cursors = [await connection.execute(call.sql, call.values()) for call in calls]
    return [await cursor.fetchall() for cursor in cursors]


def _fail(calls: Sequence[Call], error: Exception) -> None:
    for call in calls:
        call.fail(error)


def _has_ended(connection: psycopg.BaseConnection[Any]) -> bool:
    """Whether the server has hung up since the last call, as far as that has come through.

    On an idle connection nothing is to be read but that; anything else is reason enough for a new one.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


async def _close(connection: AsyncConnection) -> None:
    with suppress(psycopg.Error):
        await connection.close()
