"""What stands in a database beside convoq: a schema of its own is beside all of it, and gone afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final
from urllib.parse import quote

import psycopg
from psycopg import errors, sql

from convoq.db.postgres.connection import Connection, Server
from convoq.db.postgres.failures import first_line, refused, unavailable
from convoq.errors import ConvoqError, DatabaseRefused

VERSION: Final = "schema_version"  # convoq's
TABLES: Final = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename"
DROP_PATIENCE: Final = "10s"  # for the transactions of processes that are ending


@asynccontextmanager
async def own_schema(url: str, password: str | None, name: str) -> AsyncIterator[str]:
    """A URL that leads into an empty schema of this name, which is dropped with all that it holds at the end.

    Raises DatabaseRefused where the user may not make one, DatabaseUnavailable where nothing answers.
    """
    server = Server(url=url, password=password)
    await asyncio.to_thread(_create, server, name)
    try:
        yield _within(url, name)
    finally:
        with suppress(psycopg.Error):  # a server that went away meanwhile keeps it
            await asyncio.to_thread(_drop, server, name)


async def require_free(url: str, password: str | None) -> None:
    """Raises ConvoqError where tables of something else than convoq stand there."""
    server = Server(url=url, password=password)
    try:
        found = await asyncio.to_thread(_find_tables, server)
    except psycopg.Error as error:
        raise refused(server.location, error) or unavailable(server.location, error) from error
    if found and VERSION not in found:
        tables = ", ".join(found[:3])
        raise ConvoqError(f"{server.location}: holds tables of something else ({tables}): give an empty database")


def _find_tables(server: Server) -> list[str]:
    with server.connect() as connection:
        return [name for (name,) in connection.execute(TABLES)]


def _within(url: str, name: str) -> str:
    option = f"options={quote(f'-csearch_path={name}', safe='')}"
    return f"{url}{'&' if '?' in url else '?'}{option}"


def _create(server: Server, name: str) -> None:
    try:
        with server.connect() as connection:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
    except errors.InsufficientPrivilege as error:
        raise DatabaseRefused(
            f"{server.location}: {first_line(error)}: GRANT CREATE ON DATABASE to its user"
        ) from error
    except psycopg.Error as error:
        raise refused(server.location, error) or unavailable(server.location, error) from error


def _drop(server: Server, name: str) -> None:
    connection: Connection
    with server.connect() as connection:
        connection.execute("SELECT set_config('lock_timeout', %s, false)", (DROP_PATIENCE,))
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))
