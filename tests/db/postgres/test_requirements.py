"""Servers that would break a promise, or let nobody in, are refused at start: in one line, with what to do."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import psycopg
import pytest

from convoq.db.postgres.requirements import problems
from convoq.db.postgres.store import PostgresDatabase
from convoq.errors import DatabaseRefused, DatabaseUnavailable
from tests.servers.postgres import PostgresServer, running_postgres


@pytest.fixture(scope="module")
def guarded() -> Iterator[PostgresServer]:
    """A server that asks user `guarded` for a password."""
    with running_postgres() as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
        hba = server.data / "pg_hba.conf"
        hba.write_text("host all guarded 127.0.0.1/32 scram-sha-256\nhost all convoq 127.0.0.1/32 trust\n")
        server.stop(signal.SIGINT)
        server.start()
        yield server


@asynccontextmanager
async def pooling(url: str) -> AsyncIterator[str]:
    """A URL that leads to the server through what tells its clients a process of its own making, as poolers do."""
    host, port = "127.0.0.1", int(url.rpartition(":")[2].partition("/")[0])

    relays = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(host, port)
        ways = _copy(reader, server_writer), _copy(server_reader, writer, BACKEND_KEY)
        relays.add(asyncio.current_task())
        await asyncio.gather(*ways)

    async with await asyncio.start_server(relay, host) as pooler:
        here = pooler.sockets[0].getsockname()[1]
        yield url.replace(f":{port}/", f":{here}/")
    await asyncio.gather(*(task for task in relays if task is not None))


#: BackendKeyData: its type, its length, then the number of the process.
BACKEND_KEY = re.compile(rb"K\x00\x00\x00\x0c....", re.DOTALL)


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, replaced: re.Pattern[bytes] | None = None
) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(replaced.sub(b"K\x00\x00\x00\x0c\x00\x00\x00\x07", data) if replaced else data)
            await writer.drain()
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def refusal(url: str, password: str | None = None) -> str:
    with pytest.raises(DatabaseRefused) as told:
        await PostgresDatabase.open(url, password=password)
    assert told.value.exit_code == 78
    assert "\n" not in str(told.value)
    return str(told.value)


def guarded_url(server: PostgresServer) -> str:
    return server.url().replace("convoq@", "guarded@")


async def test_what_a_power_cut_would_take_back_is_refused() -> None:
    with running_postgres(fsync="off", full_page_writes="off", synchronous_commit="off") as server:
        told = await refusal(server.url())
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        assert f"{name} is off, so that a power cut takes what was accepted: switch it on" in told


async def test_an_encoding_that_cannot_hold_every_text_is_refused(postgres_server: PostgresServer) -> None:
    with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    assert "its encoding is LATIN1: create the database with ENCODING 'UTF8'" in await refusal(
        postgres_server.url("latin")
    )


async def test_a_standby_is_refused() -> None:
    with running_postgres() as server:
        server.stop(signal.SIGINT)
        (server.data / "standby.signal").touch()
        server.start()
        assert "is a standby, which only reads: point database.url at the primary" in await refusal(server.url())


async def test_a_database_that_only_reads_is_refused(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        name = postgres_url.rpartition("/")[2]
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
    assert "only reads: switch default_transaction_read_only off" in await refusal(postgres_url)


def test_an_old_server_is_refused() -> None:
    told = problems(130_011, "13.11", "UTF8", False, "off", "on", "on", "on")
    assert list(told) == ["is PostgreSQL 13.11: convoq needs 14 or newer"]


async def test_a_wrong_password_is_refused_and_not_repeated(guarded: PostgresServer) -> None:
    told = await refusal(guarded_url(guarded), password="not the right one")
    assert 'password authentication failed for user "guarded": give the right one as database.password' in told
    assert "not the right one" not in told


async def test_a_missing_password_is_asked_for(guarded: PostgresServer) -> None:
    assert "no password supplied: give it as database.password" in await refusal(guarded_url(guarded))


async def test_the_right_password_opens_the_database(guarded: PostgresServer) -> None:
    told = await refusal(guarded_url(guarded), password="right")
    assert "permission denied for schema public: GRANT CREATE ON SCHEMA public" in told


async def test_a_database_that_is_not_there_is_refused(postgres_server: PostgresServer) -> None:
    told = await refusal(postgres_server.url("nowhere"))
    assert 'database "nowhere" does not exist: create it, or correct database.url' in told


async def test_a_server_that_does_not_answer_may_come_back() -> None:
    with running_postgres() as server:
        url = server.url()
    with pytest.raises(DatabaseUnavailable, match=f"postgresql://127.0.0.1:{server.port}/postgres: .*refused") as told:
        await PostgresDatabase.open(url)
    assert told.value.exit_code == 75


async def test_a_pooler_is_refused_unless_something_leads_around_it(migrated_postgres_url: str) -> None:
    async with pooling(migrated_postgres_url) as pooled_url:
        told = await refusal(pooled_url)
        assert "is behind a pooler, where no worker is woken" in told
        assert "give database.direct_url" in told
        async with await PostgresDatabase.open(pooled_url, direct_url=migrated_postgres_url) as store:
            assert await store.read(lambda tx: tx.execute("SELECT 1").fetchall()) == [(1,)]
