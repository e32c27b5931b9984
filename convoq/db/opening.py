"""The one place that knows which database the settings name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from convoq.db.birth import OpenMode
from convoq.db.database import Database
from convoq.db.postgres.location import location_of as location_of_url
from convoq.db.store import Store
from convoq.errors import ConfigError
from convoq.settings import DatabaseSettings

if TYPE_CHECKING:
    from convoq.db.postgres.store import PostgresDatabase

NEEDS_DRIVER: Final = 'database.url needs PostgreSQL\'s driver: pip install "convoq[postgres]"'


@asynccontextmanager
async def open_store(
    settings: DatabaseSettings, *, mode: OpenMode = OpenMode.ROLE, gate_timeout: float | None = None
) -> AsyncIterator[Store]:
    """The store, until the end of the block; the mode says whether it may be created and migrated.

    Raises DatabaseRefused for one that must not be used, DatabaseUnavailable for one that cannot be used just now,
    ConvoqError when EXISTING finds none or one that is to be migrated first. `gate_timeout` is as for a Database.
    """
    if settings.url is not None:
        async with await _open_postgres(settings.url, settings, mode) as server:
            yield server
        return
    database = await Database.open(
        settings.path, mode=mode, min_free_mb=settings.min_free_mb, gate_timeout=gate_timeout
    )
    async with database:
        yield database


@asynccontextmanager
async def own_schema(settings: DatabaseSettings, name: str) -> AsyncIterator[str]:
    """The URL of an empty schema within the PostgreSQL database that the settings name; gone after the block.

    Raises as open_store.
    """
    try:
        from convoq.db.postgres import schemas  # an extra, as below
    except ImportError as error:
        raise _without_driver(error) from error
    async with schemas.own_schema(settings.url or "", _password(settings), name) as url:
        yield url


async def require_free(settings: DatabaseSettings) -> None:
    """Raises ConvoqError where tables of something else stand in the PostgreSQL database that the settings name."""
    try:
        from convoq.db.postgres import schemas  # an extra, as below
    except ImportError as error:
        raise _without_driver(error) from error
    await schemas.require_free(settings.url or "", _password(settings))


def location_of(settings: DatabaseSettings) -> str:
    """Where the settings say that it is, for people: a database that need not be there."""
    return str(settings.path.absolute()) if settings.url is None else location_of_url(settings.url)


async def _open_postgres(url: str, settings: DatabaseSettings, mode: OpenMode) -> PostgresDatabase:
    try:
        from convoq.db.postgres.store import PostgresDatabase  # an extra: without it all is kept in one file
    except ImportError as error:
        raise _without_driver(error) from error
    return await PostgresDatabase.open(
        url, password=_password(settings), mode=mode, pool=settings.pool, direct_url=settings.direct_url
    )


def _password(settings: DatabaseSettings) -> str | None:
    return settings.password.get_secret_value() if settings.password else None


def _without_driver(error: ImportError) -> Exception:
    """What it means to the operator, or the error itself where it is another module that is not there."""
    # None: the driver is there, but the library below it is not.
    return ConfigError(NEEDS_DRIVER) if error.name in (None, "psycopg") else error
