"""Servers behind TLS with an authority of a company's own: named in the settings they are believed, and only then."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from convoq.errors import DatabaseRefused
from convoq.jobs import NewJob
from convoq.queue.base import settle_nothing
from convoq.queue.postgres.backend import PostgresQueue
from convoq.queue.redis.opening import open_redis
from convoq.settings import RedisSettings
from tests.outbound.authority import Authority, make_authority
from tests.servers.postgres import PostgresServer, free_port, running_postgres
from tests.servers.redis import running_redis

JOB = NewJob(kind="reply", payload="{}")


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    # Not pytest's folder: user postgres may not enter it.
    with tempfile.TemporaryDirectory(prefix="convoq-tls-") as folder:
        Path(folder).chmod(0o755)
        yield make_authority(Path(folder), "localhost")


# --- Redis


@pytest.fixture(scope="module")
def redis_port(authority: Authority) -> Iterator[int]:
    port = free_port()
    files = {"tls_cert_file": str(authority.chain), "tls_key_file": str(authority.key)}
    options = {"tls_port": str(port), "tls_auth_clients": "no", "tls_ca_cert_file": str(authority.certificate)}
    with running_redis(**files, **options):
        yield port


async def test_a_queue_on_redis_works_through_tls(redis_port: int, authority: Authority, tmp_path: Path) -> None:
    settings = RedisSettings(url=f"rediss://localhost:{redis_port}/0", ca_file=authority.certificate)
    async with (
        await Database.open(tmp_path / "convoq.db") as store,
        open_redis(store, settle_nothing, settings) as queue,
    ):
        await queue.register("w")
        await queue.enqueue([JOB], max_attempts=3)
        [claim] = await queue.claim(1, lease=30, worker="w")
        assert queue.extend([claim], lease=30) == []
        await queue.ack(claim)


async def test_a_redis_whose_authority_is_unknown_is_refused(redis_port: int, tmp_path: Path) -> None:
    settings = RedisSettings(url=f"rediss://localhost:{redis_port}/0")
    async with await Database.open(tmp_path / "convoq.db") as store:
        with pytest.raises(DatabaseRefused, match=r"certificate verify failed.*set redis\.ca_file"):
            async with open_redis(store, settle_nothing, settings):
                raise AssertionError("it was believed")


async def test_a_redis_under_another_name_than_its_certificate_is_refused(
    redis_port: int, authority: Authority, tmp_path: Path
) -> None:
    settings = RedisSettings(url=f"rediss://127.0.0.1:{redis_port}/0", ca_file=authority.certificate)
    async with await Database.open(tmp_path / "convoq.db") as store:
        with pytest.raises(DatabaseRefused, match="certificate verify failed"):
            async with open_redis(store, settle_nothing, settings):
                raise AssertionError("it was believed")


# --- PostgreSQL


@pytest.fixture(scope="module")
def postgres(authority: Authority) -> Iterator[PostgresServer]:
    with running_postgres() as server:
        for file in (authority.chain, authority.key):
            shutil.copy(file, server.data / file.name)
            (server.data / file.name).chmod(0o600)
            shutil.chown(server.data / file.name, *owner(server.data))
        with (server.data / "postgresql.auto.conf").open("a") as settings:
            settings.write("ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\n")
        server.stop(signal.SIGINT)
        server.start()
        yield server


def owner(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_uid, found.st_gid


def url(server: PostgresServer, authority: Authority, host: str = "localhost") -> str:
    at = server.create_database().replace("@127.0.0.1", f"@{host}")
    return f"{at}?sslmode=verify-full&sslrootcert={authority.certificate}"


async def test_store_and_queue_on_postgresql_work_through_tls(postgres: PostgresServer, authority: Authority) -> None:
    async with await PostgresDatabase.open(url(postgres, authority)) as store:
        assert await store.read(lambda tx: tx.execute(ENCRYPTED).fetchone()) == (1,)
        queue = PostgresQueue(store)
        await queue.register("w")
        await queue.enqueue([JOB], max_attempts=3)
        [claim] = await queue.claim(1, lease=30, worker="w")
        await queue.ack(claim)
        await queue.close()


ENCRYPTED = "SELECT CAST(ssl AS integer) FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


async def test_a_postgresql_whose_authority_is_another_is_refused(
    postgres: PostgresServer, tmp_path: Path, authority: Authority
) -> None:
    other = make_authority(tmp_path, "localhost")
    with pytest.raises(DatabaseRefused, match="certificate verify failed: correct sslmode or sslrootcert"):
        await PostgresDatabase.open(url(postgres, other))


async def test_a_postgresql_under_another_name_than_its_certificate_is_refused(
    postgres: PostgresServer, authority: Authority
) -> None:
    with pytest.raises(DatabaseRefused, match=r"does not match host name.*: correct sslmode or sslrootcert"):
        await PostgresDatabase.open(url(postgres, authority, host="127.0.0.1"))
