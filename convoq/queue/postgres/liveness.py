"""A worker's mark, an advisory lock that ends with its session, and what it is woken by."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import psycopg

from convoq.db.postgres.connection import AsyncConnection
from convoq.db.postgres.failures import unavailable
from convoq.logs import log
from convoq.queue.postgres.channel import Connect

WAKE: Final = "convoq_jobs"  #: the channel on which all workers of the database listen
LONGEST_RETRY: Final = 0.25  # seconds between two attempts to come back; shorter than others wait before they take over

# Of a machine that vanished without a word the server learns in about ten seconds.
SET_UP: Final = f"""
    SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3;
    SET tcp_user_timeout = 10000; LISTEN {WAKE}
"""
# Shared: a worker that comes back has it again while the server still believes in the session that was cut off.
MARK: Final = "SELECT pg_advisory_lock_shared(queue_mark(%s))"


class Liveness:
    """While the process lives its session holds the mark; however it dies, the server frees it then."""

    def __init__(self, connect: Connect, location: str, name: str) -> None:
        self.name = name
        self._location = location
        self.woken = asyncio.Event()
        self._connect = connect
        self._connection: AsyncConnection | None = None
        self._listening: asyncio.Task[None] | None = None

    @property
    def is_marked(self) -> bool:
        return self._connection is not None and not self._connection.closed

    async def open(self) -> None:
        """Raises DatabaseUnavailable."""
        try:
            self._connection = await self._marked()
        except psycopg.Error as error:
            raise unavailable(self._location, error) from error
        self._listening = asyncio.create_task(self._listen(self._connection))

    async def close(self) -> None:
        """Whatever is still claimed may be taken by others at once."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait((self._listening,))
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with suppress(psycopg.Error):
                await connection.execute("SELECT pg_advisory_unlock_all()")
                await connection.close()

    async def _marked(self) -> AsyncConnection:
        connection = await self._connect()
        try:
            await connection.execute(SET_UP.encode(), prepare=False)
            await connection.execute(MARK, (self.name,))
        except BaseException:  # a cancelled one, too, leaves no session that would pass for a mark
            await connection.close()
            raise
        return connection

    async def _listen(self, connection: AsyncConnection) -> None:
        while True:
            try:
                async for _ in connection.notifies():
                    self.woken.set()
            except psycopg.Error as error:
                log.warning("worker.unmarked", error=str(error).strip())
            self._connection = None
            with suppress(psycopg.Error):
                await connection.close()
            connection = self._connection = await self._come_back()
            log.warning("worker.mark_restored")
            self.woken.set()  # whatever was told meanwhile was not heard: look

    async def _come_back(self) -> AsyncConnection:
        pause = LONGEST_RETRY / 8
        while True:
            try:
                return await self._marked()
            except psycopg.Error:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_RETRY)
