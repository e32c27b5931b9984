"""`convoq dev` on servers: it answers its phones there, and leaves alone what else they hold."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psycopg
import pytest

from convoq.daemon.process import Storage, open_storage
from convoq.jobs import message_job
from convoq.loopback.process import convoq
from convoq.loopback.waiting import until
from convoq.queue.base import JobFilter, JobState
from convoq.settings.load import load
from tests.dev.page.phone_page import dev_process
from tests.dev.test_dev import answered, refused, token
from tests.servers.redis import RedisServer

pytestmark = [pytest.mark.process, pytest.mark.long]

SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'convoq%'"


@pytest.fixture
async def installation(
    migrated_postgres_url: str, redis_server: RedisServer, tmp_path: Path
) -> AsyncIterator[tuple[dict[str, str], Storage]]:
    """One on both servers, on which a real person waits."""
    environ = {
        "CONVOQ_DATABASE__URL": migrated_postgres_url,
        "CONVOQ_QUEUE__ENGINE": "redis",
        "CONVOQ_REDIS__URL": redis_server.url,
        "CONVOQ_REDIS__PREFIX": str(tmp_path),
    }
    async with open_storage(load(None, environ=environ).options) as storage:
        await storage.queue.enqueue(message_job("+12025550101", "+12025550142", "for a real person"))
        yield environ, storage


async def test_it_plays_on_the_servers_of_an_installation_and_touches_nothing_of_it(
    installation: tuple[dict[str, str], Storage], redis_server: RedisServer, tmp_path: Path
) -> None:
    environ, storage = installation
    url = environ["CONVOQ_DATABASE__URL"]
    client = redis_server.server.connect()
    others = await client.dbsize()
    servers = ("--database-url", url, "--redis-url", redis_server.url)
    async with dev_process(tmp_path, *servers, port=0, **environ) as process:
        await write(process.url)
        assert len(schemas(url)) == 1
        assert await client.dbsize() > others
        assert await process.ended() == 0
    assert schemas(url) == []
    assert await client.dbsize() == others
    await client.aclose()
    assert [job.state for job in await storage.jobs.list(JobFilter())] == [JobState.READY]


async def test_started_over_it_has_an_empty_schema(postgres_url: str, tmp_path: Path) -> None:
    async with dev_process(tmp_path, "--database-url", postgres_url) as process, aiohttp.ClientSession() as session:
        [first] = schemas(postgres_url)
        data = {"token": await token(session, process.url)}
        async with session.post(f"{process.url}start-over", data=data, allow_redirects=False) as response:
            assert response.status < 400
        await until(lambda: len(found := schemas(postgres_url)) == 1 and found != [first], timeout=30)
        assert await process.ended() == 0
    assert schemas(postgres_url) == []


async def test_a_kept_file_keeps_its_queue_on_redis(redis_server: RedisServer, tmp_path: Path) -> None:
    kept = ("--database", str(tmp_path / "kept.db"), "--redis-url", redis_server.url)
    async with dev_process(tmp_path, *kept) as process:
        await write(process.url)
        assert await process.ended() == 0
    [kept_at] = prefixes(redis_server)
    (tmp_path / "dev.log").unlink()
    async with dev_process(tmp_path, *kept) as process:
        await write(process.url)
        assert await process.ended() == 0
    assert prefixes(redis_server) == {kept_at}


async def write(page: str) -> None:
    """Returns once what was written on a phone is answered."""
    async with aiohttp.ClientSession() as session:
        data = {"token": await token(session, page), "text": "hello"}
        async with session.get(f"{page}events") as stream:
            async with session.post(f"{page}phones/1/messages", data=data) as response:
                assert response.status == 200
            await answered(stream, 1)


@pytest.mark.parametrize(
    ("server", "code", "said"),
    [
        (("--database-url", "postgresql://convoq@127.0.0.1:9/convoq"), 75, "127.0.0.1:9/convoq: "),
        (("--database-url", "mysql://x"), 78, "flag: database.url: must be postgresql://USER@HOST:PORT/DATABASE"),
        (("--redis-url", "redis://127.0.0.1:9/0"), 75, "Redis at 127.0.0.1:9: "),
        (("--redis-url", "redis://:s3cret@127.0.0.1/0"), 78, "flag: redis.url: must not hold a user name or password"),
    ],
)
async def test_a_server_that_cannot_be_used_is_one_line(
    tmp_path: Path, server: tuple[str, ...], code: int, said: str
) -> None:
    ended, errors = await refused(tmp_path, "--port", "0", *server)
    line = errors.splitlines()[-1]
    assert (ended, said in line, "s3cret" in errors) == (code, True, False), errors
    assert line.startswith("convoq: ")


async def test_a_user_who_may_make_no_schema_is_told_what_to_grant(postgres_url: str, tmp_path: Path) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE guest LOGIN")
    try:
        code, errors = await refused(
            tmp_path, "--port", "0", "--database-url", postgres_url.replace("convoq@", "guest@")
        )
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("DROP ROLE guest")
    assert code == 78
    assert errors.splitlines()[-1].endswith("GRANT CREATE ON DATABASE to its user")


def test_a_file_and_a_server_are_not_both_the_database(tmp_path: Path) -> None:
    words = convoq("dev", "--database", "x.db", "--database-url", "postgresql://a@b/c")
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=os.environ, check=False)
    assert ended.returncode == 2
    assert "not allowed with argument --database" in ended.stderr


def prefixes(server: RedisServer) -> set[bytes]:
    with server.server.connect_blocking() as client:
        return {bytes(key).partition(b"}")[0] for key in client.scan_iter("{convoq-dev-*")}


def schemas(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [name for (name,) in connection.execute(SCHEMAS)]
