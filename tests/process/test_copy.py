"""A team that moves from its file to PostgreSQL: what waited in the file is answered there, once."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import psycopg
import pytest

from tests.process.harness import ROOT_PATH, Site, open_site

pytestmark = pytest.mark.process


async def copy(site: Site, url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "convoq", "db", "copy", str(site.database), url),
        env=os.environ | site.settings | ROOT_PATH, cwd=site.directory,
    )  # fmt: skip
    assert await process.wait() == 0


async def test_what_waited_in_the_file_is_answered_on_the_server_once(tmp_path: Path, postgres_url: str) -> None:
    async with open_site(tmp_path) as site:
        serve, worker = await site.serve(), await site.start("work")
        answered = site.twilio.new_sid()
        assert (await site.say("before", sid=answered)).status == 200
        await site.until(lambda: len(site.twilio.messages) == 1, "it is answered from the file")
        worker.kill()
        await worker.wait()
        people = [f"whatsapp:+1555300{number:04}" for number in range(5)]
        for person in people:
            assert (await site.say("while no worker runs", sender=person)).status == 200
        serve.terminate()
        assert await serve.ended() == 0

        await copy(site, postgres_url)

        site.settings.pop("CONVOQ_DATABASE__PATH")
        site.settings["CONVOQ_DATABASE__URL"] = postgres_url
        await site.serve()
        await site.start("work")
        await site.until(lambda: len(site.twilio.messages) >= 6, "all are answered")
        assert (await site.say("before", sid=answered)).status == 200  # Twilio delivers it again
        assert (await site.say("after")).status == 200
        await site.until(lambda: len(site.twilio.messages) >= 7, "the next one is answered")
        assert sorted(one.to for one in site.twilio.messages) == sorted([*people, *2 * ["whatsapp:+15551230001"]])
        with psycopg.connect(postgres_url) as connection:
            assert connection.execute("SELECT count(*) FROM messages WHERE direction = 'in'").fetchone() == (7,)
