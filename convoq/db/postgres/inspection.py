"""What an operator should know of the server: asked by the doctor."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

import psycopg

from convoq.db.postgres.connection import Server
from convoq.db.postgres.failures import unavailable


class OpenTransaction(NamedTuple):
    """Rows that it could still see are not cleared away, and the queue's tables grow."""

    seconds: float
    pid: int
    who: str  #: its user, program and address


class ServerState(NamedTuple):
    version: str
    oldest: OpenTransaction | None  #: as far as this user may see the others


async def inspect(server: Server) -> ServerState:
    """On a connection of its own. Raises DatabaseUnavailable."""
    return await asyncio.to_thread(_inspect, server)


def _inspect(server: Server) -> ServerState:
    try:
        with server.connect() as connection:
            [version] = connection.execute("SELECT current_setting('server_version')").fetchall()[0]
            oldest = connection.execute(OLDEST).fetchone()
    except psycopg.Error as error:
        raise unavailable(server.location, error) from error
    return ServerState(version, OpenTransaction(*oldest) if oldest else None)


OLDEST: Final = """
    SELECT CAST(extract(epoch FROM clock_timestamp() - xact_start) AS double precision), pid,
           concat_ws(' ', usename, nullif(application_name, ''), host(client_addr))
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
    ORDER BY xact_start LIMIT 1
"""
