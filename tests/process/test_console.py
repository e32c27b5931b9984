"""`convoq console` as a process: when it starts, where it listens, and that the webhook's port knows nothing of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import aiohttp
import pytest

from convoq.console.pages.mounting import LONGEST_STREAM
from tests.process.harness import Process, Site

pytestmark = pytest.mark.process


def command(site: Site, *arguments: str) -> str:
    """A command beside the roles; what it prints."""
    env = {**os.environ, **site.settings}
    done = subprocess.run(
        [sys.executable, "-m", "convoq", *arguments], cwd=site.directory, env=env, capture_output=True, text=True,
        check=True, timeout=60,
    )  # fmt: skip
    return done.stdout.strip()


async def token(site: Site) -> str:
    """Of an operator, in a database that is there from now on."""
    for arguments in (("db", "migrate"), ("operators", "add", "Marta")):
        await asyncio.to_thread(command, site, *arguments)
    return await asyncio.to_thread(command, site, "operators", "token", "Marta", "--role", "operator")


async def started(site: Site) -> str:
    """A console of its own; where it listens."""
    process = await site.start("console", "--port", "0")

    def address() -> str | None:
        found = [event["address"] for event in process.events if event["event"] == "role.started"]
        return found[0] if found else None

    await site.until(lambda: address() is not None, "the console has started")
    return f"http://{address()}"


async def ask(url: str, token: str | None = None) -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status


async def refusal(process: Process) -> str:
    assert await process.ended() == 78
    [line] = [line for line in process.output.splitlines() if not line.startswith("{")]
    return line


async def test_it_answers_who_has_a_token_and_ends_in_order(site: Site) -> None:
    marta = await token(site)
    url = await started(site)
    assert (await ask(f"{url}/api/v1/status", marta), await ask(f"{url}/api/v1/status")) == (200, 401)
    assert site.rows("SELECT role FROM processes") == [("console",)]
    console = site.processes[-1]
    console.terminate()
    assert await console.ended() == 0
    assert site.rows("SELECT role FROM processes") == []


async def test_until_there_is_an_operator_it_does_not_listen(site: Site) -> None:
    await asyncio.to_thread(command, site, "db", "migrate")
    line = await refusal(await site.start("console"))
    assert line.startswith("convoq: there is no operator, so nobody could come in: convoq operators add NAME")


async def test_it_listens_beyond_this_machine_only_where_that_is_said(site: Site) -> None:
    line = await refusal(await site.start("console", "--host", "0.0.0.0"))
    assert line.startswith("convoq: console.host: 0.0.0.0 is reached by other machines")
    assert "console.beyond_loopback = true" in line


async def test_the_webhooks_port_has_none_of_it(site: Site) -> None:
    marta = await token(site)
    await site.serve()
    for path in ("/api/v1/status", "/api/v1/openapi.json", "/"):
        assert await ask(f"http://127.0.0.1:{site.port}{path}", marta) == 404
    url = await started(site)
    assert await ask(f"{url}/twilio/inbound", marta) == 404


async def test_an_open_page_is_not_what_its_stop_waits_for(site: Site) -> None:
    site.settings["CONVOQ_CONSOLE__DRAIN_TIMEOUT"] = "120"  # longer than the test waits for the end
    await token(site)
    link = await asyncio.to_thread(command, site, "operators", "link", "Marta")
    url = await started(site)
    jar = aiohttp.CookieJar(unsafe=True)  # also for an address without a name
    async with aiohttp.ClientSession(cookie_jar=jar, headers={"Sec-Fetch-Site": "same-origin"}) as session:
        async with session.post(f"{url}/login", data={"code": link.partition("code=")[2]}) as signed_in:
            assert signed_in.status == 200
        async with session.get(f"{url}/events") as stream:
            assert (await stream.content.readline()).startswith(b"retry:")
            console = site.processes[-1]
            console.terminate()
            async with asyncio.timeout(LONGEST_STREAM - 3):  # by itself the stream would end then
                assert await console.ended() == 0
