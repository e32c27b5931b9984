"""Real workers side by side, one killed in the middle: together they send no faster than the number may."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from convoq.conversations.pacing import BURST_MS
from tests.handlers.outbox.test_pace import too_fast
from tests.process.harness import NUMBER, Site, open_site

pytestmark = pytest.mark.process

PEOPLE = 24
EACH_MS = 100  #: of airtime
KILLED_AT = 8  #: sent messages

Rows = Callable[[str], Sequence[tuple[Any, ...]]]


def paced(site: Site) -> None:
    site.settings |= {
        "CONVOQ_TWILIO__PACE": "true",
        "CONVOQ_NUMBERS": json.dumps([{"address": NUMBER, "persona": "default", "rate": 1000 / EACH_MS}]),
    }


async def answer_all(site: Site, rows: Rows) -> None:
    """Three workers; one of them is killed while it sends, and another takes its place."""
    await site.serve()
    for number in range(PEOPLE):
        assert (await site.say("hello", sender=f"whatsapp:+1555123{number:04}")).status == 200
    workers = await asyncio.gather(*(site.start("work") for _ in range(3)))
    await site.until(lambda: len(site.twilio.messages) >= KILLED_AT, "some are sent")
    workers[0].kill()
    await workers[0].wait()
    await site.start("work")
    await site.until(lambda: rows("SELECT count(*) FROM outbox WHERE state = 'sent'")[0][0] == PEOPLE, "all are sent")


def sent_no_faster_than_they_may(site: Site, rows: Rows) -> None:
    moments = sorted(at for (at,) in rows("SELECT attempted_at FROM outbox"))
    assert len(moments) == len({message.to for message in site.twilio.messages}) == PEOPLE
    assert too_fast(moments, EACH_MS) == []
    assert moments[-1] - moments[0] >= (PEOPLE - 1) * EACH_MS - BURST_MS


async def test_workers_side_by_side_keep_to_the_rate_of_a_number(site: Site) -> None:
    paced(site)
    await answer_all(site, site.rows)
    sent_no_faster_than_they_may(site, site.rows)


async def test_workers_side_by_side_keep_to_the_rate_of_a_number_on_a_server(
    tmp_path: Path, migrated_postgres_url: str
) -> None:
    def rows(sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(migrated_postgres_url) as connection:
            return connection.execute(sql.encode()).fetchall()

    async with open_site(tmp_path) as site:
        site.settings.pop("CONVOQ_DATABASE__PATH")
        site.settings["CONVOQ_DATABASE__URL"] = migrated_postgres_url
        paced(site)
        await answer_all(site, rows)
        sent_no_faster_than_they_may(site, rows)
