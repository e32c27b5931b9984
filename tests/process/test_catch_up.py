"""What people write while nobody listens is answered afterwards: Twilio gives its webhooks up, its list keeps them."""

from __future__ import annotations

import json
import sqlite3

import pytest

from tests.process.harness import Process, Site

pytestmark = pytest.mark.process

OUTAGE = 600  # seconds


async def outage(site: Site, *, messages: int) -> None:
    """A number that is known for a day, and ten minutes in which nothing listens."""
    serve = await site.serve()
    assert (await site.say("hello")).status == 200
    await site.start("work")
    await site.until_quiet()
    serve.kill()
    await serve.wait()
    for number in range(messages):
        lost = await site.say(f"message {number}", sender=f"whatsapp:+1555123{number % 7:04d}")
        assert lost.status is None
        site.twilio.received[-1].created -= round(1000 * (150 + OUTAGE * (1 - number / messages)))
    with sqlite3.connect(site.database) as connection:
        connection.execute("UPDATE our_addresses SET known_since = known_since - 86400000")


async def catch_up(site: Site, *arguments: str) -> Process:
    process = await site.start("catch-up", *arguments)
    assert await process.ended() == 0, process.output
    return process


async def test_all_that_was_written_during_an_outage_of_ten_minutes_is_answered_once(site: Site) -> None:
    await outage(site, messages=40)
    await site.serve()
    for expected in ("40 of 40 messages at Twilio are enqueued.", "Nothing is missing: "):
        assert expected in (await catch_up(site)).output
        await site.until_quiet()
    assert site.rows("SELECT count(*) FROM messages WHERE direction = 'in' AND outcome = 'answered'") == [(41,)]
    per_message = "SELECT count(*) FROM messages WHERE direction = 'out' GROUP BY source HAVING count(*) > 1"
    assert site.rows(per_message) == []
    assert {message.to for message in site.twilio.messages} >= {f"whatsapp:+1555123{n:04d}" for n in range(7)}


async def test_a_scheduler_that_starts_has_it_looked_for_at_once(site: Site) -> None:
    """Before the first slot, which comes ten minutes later."""
    await outage(site, messages=20)
    await site.serve()
    for _ in range(2):
        schedule = await site.start("schedule")
        await site.until(lambda: site.rows(ANSWERED) == [(21,)], "every message answered")
        schedule.kill()
        await schedule.wait()
    await site.until_quiet()
    per_message = "SELECT count(*) FROM messages WHERE direction = 'out' GROUP BY source HAVING count(*) > 1"
    assert site.rows(per_message) == []
    assert site.rows("SELECT count(*) FROM messages WHERE direction = 'in'") == [(21,)]


ANSWERED = "SELECT count(*) FROM messages WHERE direction = 'in' AND outcome = 'answered'"


async def test_a_dry_run_only_says_how_many(site: Site) -> None:
    await outage(site, messages=3)
    process = await catch_up(site, "--dry-run", "--json")
    [line] = [line for line in process.output.splitlines() if '"listed"' in line]
    assert json.loads(line) == {"schema_version": 1, "listed": 3, "missing": 3, "answered": 0, "enqueued": 0}
    assert site.rows("SELECT count(*) FROM messages WHERE direction = 'in'") == [(1,)]


async def test_a_length_of_time_narrows_it(site: Site) -> None:
    await outage(site, messages=4)
    assert (
        "2 of 2 messages at Twilio would be enqueued." in (await catch_up(site, "--since", "500s", "--dry-run")).output
    )


async def test_a_twilio_that_refuses_us_is_one_line(site: Site) -> None:
    await outage(site, messages=1)
    process = await site.start("catch-up", CONVOQ_TWILIO__AUTH_TOKEN="wrong")
    assert await process.ended() != 0
    [line] = [line for line in process.output.splitlines() if line.startswith("convoq: ")]
    assert "20003" in line
    assert "Traceback" not in process.output
