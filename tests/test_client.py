"""The client for the user's own programs."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import convoq
from convoq.db import Database
from convoq.db.migrations import known
from convoq.errors import ConfigError, ConvoqError, DatabaseRefused

SMS = {"sender": "+15550009999", "to": "+15551230001", "body": "your order is ready"}


TOML = '[database]\npath = "data/convoq.db"\nmin_free_mb = 0\n\n[queue]\nmax_attempts = 7\n'


@pytest.fixture
async def config(tmp_path: Path) -> Path:
    """A convoq.toml as a producer has it (it need not know of Twilio or a model), and the database of the roles."""
    path = tmp_path / "convoq.toml"
    path.write_text(TOML)
    await (await Database.open(tmp_path / "data" / "convoq.db")).close()
    return path


def jobs(config: Path) -> list[dict[str, Any]]:
    """What stands in the queue, as another process sees it."""
    with closing(sqlite3.connect(config.parent / "data" / "convoq.db")) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM jobs ORDER BY id")]


async def test_a_job_is_on_disk_when_enqueue_returns(config: Path) -> None:
    async with convoq.connect(config) as client:
        enqueued = await client.enqueue("invoice.remind", {"order": 7, "name": "José"})
        [job] = jobs(config)
    assert (str(job["id"]), job["kind"], job["max_attempts"]) == (enqueued.job_id, "invoice.remind", 7)
    assert json.loads(job["payload"]) == {"order": 7, "name": "José"}


async def test_the_options_are_the_jobs(config: Path) -> None:
    async with convoq.connect(str(config)) as client:
        await client.enqueue("k", {}, ordering_key="order 7", dedup_key="once", priority=2, max_attempts=1)
    [job] = jobs(config)
    assert [job[name] for name in ("lane", "dedup_key", "priority", "max_attempts")] == ["order 7", "once", 2, 1]


async def test_a_duplicate_is_told_and_not_stored(config: Path) -> None:
    async with convoq.connect(config) as client:
        first = await client.enqueue("k", {}, dedup_key="once")
        second = await client.enqueue("k", {}, dedup_key="once")
    assert (second.job_id, first.duplicate, second.duplicate) == (first.job_id, False, True)
    assert len(jobs(config)) == 1


async def test_a_delay_holds_a_job_back(config: Path) -> None:
    async with convoq.connect(config) as client:
        await client.enqueue("k", {}, delay=3600)
        assert client._queue is not None
        due = await client._queue.next_due()
    assert due is not None
    assert 3590 < due <= 3600


async def test_a_message_stands_in_its_threads_lane(config: Path) -> None:
    async with convoq.connect(config) as client:
        await client.send(**SMS)
    [job] = jobs(config)
    assert (job["kind"], job["lane"]) == ("send_message", "turn|twilio|+15550009999|+15551230001")
    assert json.loads(job["payload"])["body"] == "your order is ready"


async def test_a_message_with_a_dedup_key_is_sent_once(config: Path) -> None:
    async with convoq.connect(config) as client:
        for _ in range(2):
            await client.send(**SMS, dedup_key="order 7 is ready")
    assert len(jobs(config)) == 1


async def test_a_payload_that_does_not_fit_a_built_in_kind_is_refused(config: Path) -> None:
    async with convoq.connect(config) as client:
        with pytest.raises(ValueError, match="our_address"):
            await client.enqueue("send_message", {"body": "to nobody"})
    assert jobs(config) == []


@pytest.mark.parametrize(
    "options", [{"delay": 5, "ordering_key": "a"}, {"ordering_key": ""}, {"priority": 9}, {"priority": 0}]
)
async def test_options_that_make_no_sense_are_refused(config: Path, options: dict[str, Any]) -> None:
    async with convoq.connect(config) as client:
        with pytest.raises(ValueError, match=r"ordering key|priority"):
            await client.enqueue("k", {}, **options)


async def test_a_configuration_that_is_missing_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml"):
        async with convoq.connect(tmp_path / "missing.toml"):
            pass


async def test_a_database_that_no_role_has_made_yet_is_said(tmp_path: Path) -> None:
    (tmp_path / "convoq.toml").write_text(TOML)
    with pytest.raises(ConvoqError, match=r"no database at .*data/convoq\.db"):
        async with convoq.connect(tmp_path / "convoq.toml"):
            pass
    assert not (tmp_path / "data").exists()


async def test_after_its_end_a_client_says_so(config: Path) -> None:
    async with convoq.connect(config) as client:
        pass
    with pytest.raises(ConvoqError, match="the client is not open"):
        await client.enqueue("k", {})


async def test_a_client_leaves_no_thread(config: Path) -> None:
    before = set(threading.enumerate())
    async with convoq.connect(config) as client:
        await client.enqueue("k", {})
        own = set(threading.enumerate()) - before
    for thread in own:
        thread.join(5)
    assert own
    assert not any(thread.is_alive() for thread in own)


async def test_a_client_can_be_used_again(config: Path) -> None:
    client = convoq.connect(config)
    for _ in range(2):
        async with client:
            await client.enqueue("k", {})
    assert len(jobs(config)) == 2


async def test_a_client_migrates_nothing(config: Path) -> None:
    database = config.parent / "data" / "convoq.db"
    with closing(sqlite3.connect(database)) as older:
        older.execute(f"PRAGMA user_version = {known()[-1].version - 1}")
    with pytest.raises(ConvoqError, match="restart the three roles with this version, or run convoq db migrate"):
        async with convoq.connect(config):
            pass
    with closing(sqlite3.connect(database)) as older:
        assert older.execute("PRAGMA user_version").fetchone() == (known()[-1].version - 1,)


async def test_a_client_begins_no_new_database_where_one_was_lost(config: Path) -> None:
    (config.parent / "data" / "convoq.db").unlink()
    with pytest.raises(DatabaseRefused, match=r"is missing, but convoq\.db\.run beside it shows"):
        async with convoq.connect(config):
            pass
    assert not (config.parent / "data" / "convoq.db").exists()
