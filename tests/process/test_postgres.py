"""The three roles as processes on a PostgreSQL database: what was accepted is answered once, whoever dies."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from convoq.loopback.waiting import until
from tests.process.harness import LONGEST_WAIT, Site, open_site
from tests.servers.postgres import running_postgres

pytestmark = [pytest.mark.process, pytest.mark.long]


@pytest.fixture
async def site(tmp_path: Path, migrated_postgres_url: str) -> AsyncIterator[Site]:
    async with open_site(tmp_path) as site:
        move_to(site, migrated_postgres_url)
        yield site


def move_to(site: Site, url: str) -> None:
    site.settings.pop("CONVOQ_DATABASE__PATH")
    site.settings["CONVOQ_DATABASE__URL"] = url


def rows(site: Site, sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(site.settings["CONVOQ_DATABASE__URL"]) as connection:
        return connection.execute(sql.encode()).fetchall()


async def answered(site: Site, number: int) -> None:
    await site.until(lambda: len(site.twilio.messages) >= number, f"{number} answers")


async def test_the_roles_share_one_database_and_answer(site: Site) -> None:
    serve = await site.serve()
    others = [await site.start("schedule"), await site.start("work"), await site.start("work")]
    assert (await site.say("hello")).status == 200
    await answered(site, 1)
    for process in [serve, *others]:
        process.terminate()
    assert [await process.ended() for process in [serve, *others]] == [0, 0, 0, 0]
    assert rows(site, "SELECT outcome FROM messages WHERE direction = 'in'") == [("answered",)]
    assert rows(site, "SELECT count(*) FROM processes") == [(0,)]


async def test_what_a_killed_worker_held_is_answered_by_another_at_once(site: Site) -> None:
    await site.serve()
    site.settings["CONVOQ_QUEUE__VISIBILITY_TIMEOUT"] = "600"
    worker = await site.start("work")
    await site.say("first")
    await answered(site, 1)
    worker.pause()
    await site.say("second")
    await site.until(lambda: rows(site, "SELECT 1 FROM jobs WHERE state = 'ready'") != [], "it is accepted")
    worker.kill()
    await site.start("work")
    await answered(site, 2)


async def test_nothing_that_was_accepted_is_lost_when_the_server_is_killed(tmp_path: Path) -> None:
    with running_postgres() as server:
        async with open_site(tmp_path) as site:
            move_to(site, server.create_database())
            await site.serve()
            for number in range(20):
                assert (await site.say(f"m{number}", sender=f"whatsapp:+1555123{number:04}")).status == 200
            server.stop(signal.SIGKILL)
            assert (await site.say("while it is away")).status == 503
            server.start()
            await site.until_ready()
            await site.start("work")
            await answered(site, 20)
            await until(lambda: rows(site, "SELECT 1 FROM jobs WHERE state = 'ready'") == [], timeout=LONGEST_WAIT)
            assert len(site.twilio.messages) == 20


@pytest.mark.parametrize("role", ["serve", "schedule", "work"])
async def test_a_role_whose_server_is_away_says_where_and_ends_to_be_started_again(site: Site, role: str) -> None:
    site.settings["CONVOQ_DATABASE__URL"] = "postgresql://convoq@127.0.0.1:9/convoq"
    process = await site.start(role)
    assert await process.ended() == 75
    [line] = [line for line in process.output.splitlines() if not line.startswith("{")]
    assert line.startswith("convoq: postgresql://127.0.0.1:9/convoq: ")
    assert line.endswith("Connection refused")


async def test_a_running_role_outlives_its_server(tmp_path: Path) -> None:
    with running_postgres() as server:
        async with open_site(tmp_path) as site:
            move_to(site, server.create_database())
            worker, serve = await site.start("work"), await site.serve()
            await site.say("before")
            await answered(site, 1)
            server.stop(signal.SIGINT)
            await asyncio.sleep(0)
            await site.until(lambda: "database.unavailable" in worker.output, "it is noticed")
            server.start()
            await site.until_ready()
            await site.say("after")
            await answered(site, 2)
            assert (worker.exit_code, serve.exit_code) == (None, None)
