"""What calls for a person is told however often the worker that is to tell it is killed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.handlers.who_answers.chats import PERSON_PLEASE
from tests.notify.endpoint import SECRET, Endpoint, open_endpoint
from tests.process.harness import Process, Site, open_site
from tests.process.test_postgres import move_to
from tests.servers.postgres import running_postgres

pytestmark = [pytest.mark.process, pytest.mark.long]

HANDED, RESOLVED = "conversation.handed_over", "conversation.handed_over.resolved"
LEFT = "SELECT id FROM notifications WHERE state = 'ready'"
CUSTOMERS = [f"whatsapp:+1555123000{number}" for number in range(5)]


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with open_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
async def site(tmp_path: Path, endpoint: Endpoint) -> AsyncIterator[Site]:
    async with open_site(tmp_path, **telling(endpoint)) as site:
        yield site


def telling(endpoint: Endpoint) -> dict[str, str]:
    return {
        "CONVOQ_NOTIFY__URL": endpoint.url,
        "CONVOQ_NOTIFY__SECRET": SECRET,
        "CONVOQ_NOTIFY__ALLOW_PRIVATE": "true",
        "CONVOQ_HANDOVER__AI_MAY_ASK": "true",
    }


async def test_a_worker_that_is_killed_while_it_tells_loses_none_and_repeats_under_the_same_id(
    site: Site, endpoint: Endpoint
) -> None:
    workers: list[Process] = []
    restarts: list[asyncio.Task[None]] = []

    async def restart() -> None:
        await workers[-1].wait()
        workers.append(await site.start("work"))

    async def kills(_: web.Request) -> web.StreamResponse:
        workers[-1].kill()
        restarts.append(asyncio.create_task(restart()))  # apart: this handler is cancelled with its connection
        await asyncio.Event().wait()
        raise AssertionError

    endpoint.script = [kills, 204, kills]
    await site.serve()
    workers.append(await site.start("work"))
    for customer in CUSTOMERS:
        assert (await site.say(PERSON_PLEASE, sender=customer)).status == 200
    for deaths, taken in ((1, 0), (1, 1), (2, 1), (2, 5)):  # a wait for each: on a busy machine a start takes long
        await site.until(lambda: (len(restarts), len(endpoint.taken)) >= (deaths, taken), f"{deaths} deaths")  # noqa: B023 # awaited in the loop
    await site.until(lambda: site.rows(LEFT) == [], "all is on record")
    await asyncio.gather(*restarts)
    assert len(restarts) == 2
    told = {(one.data["conversation"], one.message_id) for one in endpoint.tried}
    assert len(told) == 5
    assert {one.type for one in endpoint.taken} == {HANDED}


async def test_on_postgresql_neither_the_workers_kill_nor_the_servers_loses_one(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    with running_postgres() as server:
        async with open_site(tmp_path, **telling(endpoint)) as site:
            move_to(site, server.create_database())
            workers: list[Process] = []

            async def kills_worker(_: web.Request) -> web.StreamResponse:
                workers[-1].kill()
                await asyncio.Event().wait()
                raise AssertionError

            async def kills_server(_: web.Request) -> web.StreamResponse:
                server.stop(signal.SIGKILL)
                return web.Response(status=204)  # it is told, and that cannot be written down

            endpoint.script = [kills_worker, kills_server]
            await site.serve()
            workers.append(await site.start("work"))
            for customer in CUSTOMERS:
                assert (await site.say(PERSON_PLEASE, sender=customer)).status == 200
            await site.until(lambda: len(endpoint.tried) == 1, "the worker is killed")
            workers.append(await site.start("work"))
            await site.until(lambda: len(endpoint.tried) == 2, "the server is killed")
            server.start()
            await site.until(lambda: len({one.message_id for one in endpoint.taken}) == 5, "all are told")
            told = {(one.data["conversation"], one.message_id) for one in endpoint.tried}
            assert len(told) == len({conversation for conversation, _ in told}) == 5


async def test_what_arises_while_no_worker_runs_is_told_by_the_next_one(site: Site, endpoint: Endpoint) -> None:
    await site.serve()
    worker = await site.start("work")
    await site.say(PERSON_PLEASE)
    await site.until(lambda: [one.type for one in endpoint.taken] == [HANDED], "it is told")
    worker.kill()
    await worker.wait()
    taking = await site.start("conversations", "takeover", "1", "--as", "Marta")
    assert await taking.ended() == 0, taking.output
    await site.start("work")
    await site.until(lambda: [one.type for one in endpoint.taken] == [HANDED, RESOLVED], "that is told, too")


async def test_two_workers_tell_each_event_once(site: Site, endpoint: Endpoint) -> None:
    await site.serve()
    for _ in range(2):
        await site.start("work")
    await asyncio.gather(*[site.say(PERSON_PLEASE, sender=customer) for customer in CUSTOMERS])
    await site.until(lambda: len(endpoint.taken) >= 5, "all are told")
    await site.until_quiet()
    assert sorted(one.data["conversation"] for one in endpoint.taken) == [1, 2, 3, 4, 5]


async def test_an_endpoint_that_hangs_holds_up_no_answer(site: Site, endpoint: Endpoint) -> None:
    async def hangs(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    endpoint.always = hangs
    await site.serve()
    await site.start("work", CONVOQ_WORK__CONCURRENCY="2")
    await site.say(PERSON_PLEASE, sender=CUSTOMERS[0])
    await site.until(lambda: len(endpoint.tried) == 1, "it hangs")
    for customer in CUSTOMERS[1:]:
        await site.say("are you open on Sunday?", sender=customer)
    await site.until(lambda: len({one.to for one in site.twilio.messages}) == 5, "all are answered")
    assert len(endpoint.tried) == 1
