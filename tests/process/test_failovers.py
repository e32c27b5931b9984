"""Servers that stop taking writes under running roles: webhooks hear 503, workers wait, and all go on by themselves.

The worker stands still while its server changes, with a message to claim: so it notices as soon as it goes on, and not
only when an idle worker looks again, after half a minute.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from tests.fire.clocks import faketime
from tests.process.harness import Process, Site, open_site
from tests.servers.postgres import PostgresServer, running_postgres
from tests.servers.redis import RedisServer, running_redis

pytestmark = [pytest.mark.process, pytest.mark.long]

PEOPLE = [f"whatsapp:+1555400{number:04}" for number in range(20)]
WAITING = "whatsapp:+15554009999"


@asynccontextmanager
async def site_on(
    server: PostgresServer | RedisServer, directory: Path
) -> AsyncIterator[tuple[Site, Process, Process]]:
    """serve and work, ready, with their queue on this server."""
    async with open_site(directory) as site:
        if isinstance(server, PostgresServer):
            site.settings.pop("CONVOQ_DATABASE__PATH")
            site.settings["CONVOQ_DATABASE__URL"] = server.create_database()
        else:
            site.settings |= {"CONVOQ_QUEUE__ENGINE": "redis", "CONVOQ_REDIS__URL": server.url}
        serve, work = await site.serve(), await site.start("work")
        assert (await site.say("before")).status == 200
        await site.until(lambda: delivered(work), "it is answered before")
        yield site, serve, work


def delivered(work: Process) -> bool:
    """With which the first message's last job has ended."""
    kinds = [one["kind"] for one in work.events if one["event"] == "job.finished"]
    return kinds.count("record_delivery_status") == 2 and "process_ai_response" in kinds


async def stands_still(site: Site, work: Process) -> None:
    """With a message to claim."""
    work.pause()
    assert (await site.say("before", sender=WAITING)).status == 200


async def notices(site: Site, work: Process) -> None:
    work.resume()
    await site.until(lambda: any(one["event"] == "claim.failed" for one in work.events), "the worker notices")


async def refuses_webhooks(site: Site) -> None:
    assert (await site.say("meanwhile")).status == 503


async def goes_on(site: Site, *roles: Process, waiting: Sequence[str] = ()) -> None:
    """The same processes answer each person once, also those who wait."""
    people = [*PEOPLE, *waiting]
    await site.until_ready()
    for person in PEOPLE:
        assert (await site.say("after", sender=person)).status == 200
    await site.until(lambda: len(site.twilio.messages) >= 1 + len(people), "all are answered")
    assert [role.exit_code for role in roles] == [None] * len(roles)
    assert sorted(message.to for message in site.twilio.messages[1:]) == people


async def refused_at_start(site: Site, words: str) -> None:
    process = await site.start("schedule")
    assert await process.ended() == 78
    assert words in process.output


# --- PostgreSQL


async def test_a_standby_is_waited_for_until_it_is_promoted(tmp_path: Path) -> None:
    with running_postgres() as server:
        async with site_on(server, tmp_path) as (site, serve, work):
            await stands_still(site, work)
            server.stop(signal.SIGINT)
            (server.data / "standby.signal").touch()
            await asyncio.to_thread(server.start)
            await notices(site, work)
            await refuses_webhooks(site)
            await refused_at_start(site, "is a standby, which only reads: point database.url at the primary")
            with psycopg.connect(server.url()) as connection:
                assert connection.execute("SELECT pg_promote()").fetchone() == (True,)
            await goes_on(site, serve, work, waiting=[WAITING])


async def test_a_server_that_only_reads_is_waited_for(tmp_path: Path) -> None:
    with running_postgres() as server:
        async with site_on(server, tmp_path) as (site, serve, work):
            await stands_still(site, work)
            _set_read_only(server, "on")
            await notices(site, work)
            await refuses_webhooks(site)
            await refused_at_start(site, "only reads: switch default_transaction_read_only off")
            _set_read_only(server, "off")
            await goes_on(site, serve, work, waiting=[WAITING])


def _set_read_only(server: PostgresServer, value: str) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}".encode())
        connection.execute("SELECT pg_reload_conf()")


# --- Redis


async def test_a_primary_that_becomes_a_replica_is_waited_for_until_it_is_promoted(tmp_path: Path) -> None:
    with running_redis() as first, running_redis() as second:
        await _follow(second, first)
        async with site_on(first, tmp_path) as (site, serve, work):
            await stands_still(site, work)
            await _follow(second, first)
            await _promote(second)
            await _follow(first, second)
            await notices(site, work)
            await refuses_webhooks(site)
            await refused_at_start(site, "is a replica, which only reads: point redis.url at the primary")
            await _promote(first)
            await goes_on(site, serve, work, waiting=[WAITING])


async def _follow(replica: RedisServer, primary: RedisServer) -> None:
    client = replica.server.connect()
    await client.replicaof("127.0.0.1", str(primary.port))
    await client.aclose()
    await replica.follows()


async def _promote(server: RedisServer) -> None:
    client = server.server.connect()
    await client.replicaof("NO", "ONE")
    await client.aclose()


async def test_a_redis_that_fills_up_under_load_takes_nothing_more_and_loses_nothing(tmp_path: Path) -> None:
    with running_redis() as server:
        async with site_on(server, tmp_path) as (site, serve, work):
            client = server.server.connect()
            used = int((await client.info("memory"))["used_memory"])
            work.pause()
            await client.config_set("maxmemory", used + 400_000)
            accepted = 0
            while (await site.say("x" * 1500, sender=f"whatsapp:+1555500{accepted:04}")).status == 200:
                accepted += 1
                assert accepted < 2000
            work.resume()
            await site.until(lambda: len(site.twilio.messages) == 1 + accepted, "what it took is answered all the same")
            await client.config_set("maxmemory", 0)
            await client.aclose()
            site.twilio.messages[1:] = []
            await goes_on(site, serve, work)


# --- Clocks


@pytest.mark.parametrize("ahead", ["+3d", "-3d"])
async def test_a_server_whose_clock_is_wrong_delays_and_loses_nothing(tmp_path: Path, ahead: str) -> None:
    """Of PostgreSQL: Redis' allocator and libfaketime cannot be in one process."""
    library = faketime()
    if library is None:
        pytest.skip("libfaketime is not installed (Debian: apt install faketime)")
    with running_postgres() as server:
        server.stop(signal.SIGINT)
        server.environ = {"LD_PRELOAD": str(library), "FAKETIME": ahead, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        await asyncio.to_thread(server.start)
        with psycopg.connect(server.url()) as connection:
            [wrong_by] = connection.execute("SELECT extract(epoch FROM clock_timestamp())").fetchall()[0]
        assert abs(float(wrong_by) - time.time()) > 200_000
        async with site_on(server, tmp_path) as (site, serve, work):
            await goes_on(site, serve, work)
