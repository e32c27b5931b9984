"""A queue belongs to one database: to no second installation's, to no copy of it, and to none that was restored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from convoq.db import Database
from convoq.db.backup import back_up
from convoq.db.postgres.store import PostgresDatabase
from convoq.errors import DatabaseRefused
from convoq.jobs import NewJob
from convoq.queue.base import settle_nothing
from convoq.queue.redis.opening import open_redis
from convoq.settings import RedisSettings
from tests.queue.redis.conftest import OpenQueueOn
from tests.servers.redis import RedisServer

OTHERS = r"has worked for another database than .*\. Give this one a redis\.prefix that nothing has used"


@pytest.fixture
async def first(tmp_path: Path) -> AsyncIterator[Database]:
    async with await Database.open(tmp_path / "first.db") as database:
        yield database


@pytest.fixture
async def second(tmp_path: Path) -> AsyncIterator[Database]:
    async with await Database.open(tmp_path / "second.db") as database:
        yield database


async def work(
    server: RedisServer, store: Database | PostgresDatabase, prefix: str = "shop", worker: str = "w"
) -> None:
    """As a worker begins and ends."""
    async with open_redis(store, settle_nothing, RedisSettings(url=server.url, prefix=prefix)) as queue:
        await queue.register("w")


async def test_a_second_installation_below_the_same_prefix_is_refused(
    own_redis: RedisServer, first: Database, second: Database
) -> None:
    await work(own_redis, first)
    with pytest.raises(DatabaseRefused, match=OTHERS):
        await work(own_redis, second)
    await work(own_redis, second, prefix="other shop")
    await work(own_redis, first)


async def test_who_only_enqueues_there_is_refused_as_well(
    own_redis: RedisServer, first: Database, second: Database
) -> None:
    await work(own_redis, first)
    settings = RedisSettings(url=own_redis.url, prefix="shop")
    with pytest.raises(DatabaseRefused, match=OTHERS):
        async with open_redis(second, settle_nothing, settings):
            raise AssertionError("it was opened")


async def test_a_database_restored_from_a_backup_does_not_go_on_with_the_queue_of_after_it(
    own_redis: RedisServer, first: Database, tmp_path: Path
) -> None:
    await work(own_redis, first)
    await back_up(first, tmp_path / "backup.db")
    await work(own_redis, first)
    async with await Database.open(tmp_path / "backup.db") as restored:
        with pytest.raises(DatabaseRefused, match=OTHERS):
            await work(own_redis, restored)


async def test_the_original_is_refused_once_its_copy_has_taken_over(
    own_redis: RedisServer, first: Database, tmp_path: Path
) -> None:
    await work(own_redis, first)
    await back_up(first, tmp_path / "copy.db")
    async with await Database.open(tmp_path / "copy.db") as copy:
        await work(own_redis, copy)
    with pytest.raises(DatabaseRefused, match=OTHERS):
        await work(own_redis, first)


async def test_a_copy_is_refused_while_a_worker_of_the_original_runs(
    own_redis: RedisServer, open_on: OpenQueueOn, first: Database, tmp_path: Path
) -> None:
    await (await open_on(own_redis.server, store=first)).register("w1")
    await back_up(first, tmp_path / "copy.db")
    async with await Database.open(tmp_path / "copy.db") as copy:
        queue = await open_on(own_redis.server, store=copy)
        with pytest.raises(DatabaseRefused, match=r"worker w1 answers from another database.*redis\.prefix of its own"):
            await queue.register("w2")
    await (await open_on(own_redis.server, store=first)).register("w3")


async def test_a_dump_of_a_running_postgresql_database_is_refused_beside_it(
    own_redis: RedisServer, open_on: OpenQueueOn, migrated_postgres_url: str, postgres_url: str
) -> None:
    async with (
        await PostgresDatabase.open(migrated_postgres_url) as original,
        await PostgresDatabase.open(migrated_postgres_url) as elsewhere,
        await PostgresDatabase.open(postgres_url) as copy,
    ):
        await (await open_on(own_redis.server, store=original)).register("w1")
        await (await open_on(own_redis.server, store=elsewhere)).register("w2")
        marks = await original.read(lambda tx: tx.execute("SELECT mark FROM queue_marks").fetchall())
        await copy.write(lambda tx: tx.executemany("INSERT INTO queue_marks (mark) VALUES (?)", marks).rowcount)
        with pytest.raises(DatabaseRefused, match=r"worker w. answers from another database"):
            await (await open_on(own_redis.server, store=copy)).register("w3")


async def test_workers_that_have_ended_keep_none_away(
    own_redis: RedisServer, open_on: OpenQueueOn, first: Database
) -> None:
    gone = await open_on(own_redis.server, store=first)
    await gone.register("w1")
    await gone.close()
    await (await open_on(own_redis.server, store=first)).register("w2")


async def test_a_server_that_has_forgotten_everything_is_taken_and_told(
    own_redis: RedisServer, first: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    await work(own_redis, first)
    assert "queue.forgotten" not in capsys.readouterr().out
    client = own_redis.server.connect()
    await client.flushall()
    await work(own_redis, first)
    assert "queue.forgotten" in capsys.readouterr().out
    assert await client.exists("{shop}:mark")
    await client.aclose()


async def test_only_the_newest_marks_are_kept(
    own_redis: RedisServer, first: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convoq.queue.redis.ownership.KEPT", 3)
    for _ in range(5):
        await work(own_redis, first)
    assert await first.read(lambda tx: tx.execute("SELECT count(*) FROM queue_marks").fetchone()[0]) == 3


async def test_what_waits_in_a_refused_queue_stays_there(
    own_redis: RedisServer, first: Database, second: Database
) -> None:
    settings = RedisSettings(url=own_redis.url, prefix="shop")
    async with open_redis(first, settle_nothing, settings) as queue:
        await queue.register("w")
        await queue.enqueue([NewJob(kind="reply", payload="{}")], max_attempts=3)
    with pytest.raises(DatabaseRefused):
        await work(own_redis, second)
    async with open_redis(first, settle_nothing, settings) as queue:
        assert await queue.next_due() == 0
