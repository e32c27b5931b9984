"""The webhook with the real queue behind it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from convoq.api import health
from convoq.api.health import StorageReadiness
from convoq.db import Database
from convoq.errors import DatabaseUnavailable
from convoq.queue.base import JobFilter
from convoq.queue.service import QueueService
from convoq.queue.sqlite.backend import SqliteQueue
from convoq.settings import QueueSettings
from tests.api.conftest import Events
from tests.api.harness import message, running, status, status_webhook, webhook

HUGE_MB = 1 << 40


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[SqliteQueue]:
    engine = SqliteQueue(database)
    yield engine
    await engine.close()


@pytest.fixture
def service(engine: SqliteQueue) -> QueueService:
    return QueueService(engine, QueueSettings())


async def test_message_is_on_disk_once_when_it_is_answered(engine: SqliteQueue, service: QueueService) -> None:
    async with running(enqueuer=service) as api:
        replies = await asyncio.gather(*(api.ask(webhook(message())) for _ in range(20)))
        assert {reply.status for reply in replies} == {200}
        (record,) = await engine.list(JobFilter())
    assert json.loads(record.payload)["form"] == [list(pair) for pair in message()]


async def test_burst_of_webhooks_is_stored_whole(engine: SqliteQueue, service: QueueService) -> None:
    async with running(enqueuer=service) as api:
        sids = [f"SM{number:032x}" for number in range(50)]
        inbound = (api.ask(webhook(message(sid=sid))) for sid in sids)
        statuses = (api.ask(status_webhook(status(sid=sid)), bodiless=True) for sid in sids)
        replies = await asyncio.gather(*inbound, *statuses)
        assert [reply.status for reply in replies] == [200] * 50 + [204] * 50
        assert await engine.count(JobFilter(kinds=("receive_message",))) == 50
        assert await engine.count(JobFilter(kinds=("record_delivery_status",))) == 50


async def test_database_locked_by_another_process_is_503_and_later_200(
    database: Database, engine: SqliteQueue, service: QueueService, events: Events
) -> None:
    with sqlite3.connect(database.path, isolation_level=None) as outsider:
        async with running(enqueuer=service, write_timeout=0.2) as api:
            outsider.execute("BEGIN EXCLUSIVE")
            assert (await api.ask(webhook(message()))).status == 503
            outsider.execute("ROLLBACK")
            assert (await api.ask(webhook(message()))).status == 200
            assert await engine.count(JobFilter()) == 1
    outsider.close()
    assert [event["event"] for event in events if event["log_level"] == "warning"] == ["webhook.refused"]


async def nothing() -> None:
    """The queue takes jobs."""


async def test_a_queue_that_takes_no_jobs_is_not_ready(database: Database) -> None:
    async def refuse() -> None:
        raise DatabaseUnavailable("full")

    assert await StorageReadiness(database, refuse).reasons() == [health.QUEUE_UNAVAILABLE]


async def test_storage_with_room_is_ready(database: Database) -> None:
    ready = StorageReadiness(database, nothing)
    assert (ready.accepts(), await ready.reasons()) == (True, [])


async def test_storage_without_room_does_not_accept(tmp_path: Path) -> None:
    async with await Database.open(tmp_path / "full.db", min_free_mb=HUGE_MB) as database:
        ready = StorageReadiness(database, nothing)
        assert (ready.accepts(), await ready.reasons()) == (False, [health.NO_ROOM])


async def test_replaced_file_is_not_ready(database: Database) -> None:
    database.path.rename(database.path.with_suffix(".old"))
    database.path.touch()
    assert await StorageReadiness(database, nothing).reasons() == [health.REFUSED]


async def test_closed_storage_is_not_ready(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "convoq.db")
    await database.close()
    assert health.UNAVAILABLE in await StorageReadiness(database, nothing).reasons()
