"""The roles with their queue on a real Redis and the conversations in a file: they refuse, work, wait, lose nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.process.harness import ROOT_PATH, Process, Site, open_site
from tests.servers.redis import RedisServer, running_redis

pytestmark = [pytest.mark.process, pytest.mark.long]

PEOPLE = [f"whatsapp:+1555123{number:04}" for number in range(40)]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
async def site(tmp_path: Path, redis: RedisServer) -> AsyncIterator[Site]:
    async with open_site(tmp_path, CONVOQ_QUEUE__ENGINE="redis", CONVOQ_REDIS__URL=redis.url) as site:
        yield site


def events(process: Process) -> list[str]:
    return [str(entry["event"]) for entry in process.events]


async def command(site: Site, *words: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "convoq", *words), env=os.environ | site.settings | ROOT_PATH,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


# --- Refusing


async def ended(site: Site, role: str, **settings: str) -> tuple[int, list[str]]:
    """The code with which a role ends, and its lines for people."""
    site.settings |= settings
    process = await site.start(role)
    code = await process.ended()
    return code, [line for line in process.output.splitlines() if not line.startswith("{")]


async def test_a_role_whose_redis_does_not_answer_ends_with_75(site: Site, redis: RedisServer) -> None:
    redis.stop()
    code, lines = await ended(site, "work")
    assert (code, len(lines)) == (75, 1)
    assert lines[0].startswith(f"convoq: Redis at {redis.socket}: ")


async def test_a_role_whose_redis_would_lose_what_it_accepts_ends_with_78(site: Site) -> None:
    with running_redis(appendfsync="everysec") as careless:
        code, [line] = await ended(site, "serve", CONVOQ_REDIS__URL=careless.url)
        assert code == 78
        assert "appendfsync is everysec" in line
        worker = await site.start("work", CONVOQ_REDIS__ACCEPT_LOSS="true")
        await site.until(lambda: "role.started" in events(worker), "it works all the same")
        assert "queue.may_lose" in events(worker)


async def test_a_role_with_a_wrong_password_ends_with_78_and_does_not_print_it(site: Site) -> None:
    with running_redis(requirepass="right") as locked:
        code, [line] = await ended(site, "work", CONVOQ_REDIS__URL=locked.url, CONVOQ_REDIS__PASSWORD="s3cret-w0rd")
    assert code == 78
    assert "redis.password" in line
    assert "s3cret-w0rd" not in site.logs()


# --- Working


async def test_a_message_is_answered_and_the_commands_see_its_jobs(site: Site) -> None:
    await site.serve()
    await site.start("work")
    await site.start("schedule")
    assert (await site.say("hello")).status == 200
    await site.until(lambda: len(site.twilio.messages) == 1, "it is answered")
    code, listed = await command(site, "jobs", "list", "--kind", "receive_message", "--json")
    assert (code, [job["state"] for job in json.loads(listed)["jobs"]]) == (0, ["done"])
    code, status = await command(site, "status", "--exit-code")
    assert code == 0, status
    code, found = await command(site, "doctor", "--offline")
    assert code == 0, found
    assert "fsyncs what it accepts" in found
    assert "queue memory" in found
    assert (await command(site, "db", "check"))[0] == 0


async def test_what_is_enqueued_by_hand_runs(site: Site) -> None:
    worker = await site.start("work")
    await site.until(lambda: "role.started" in events(worker), "it works")
    code, job_id = await command(site, "enqueue", "process_idle")
    assert code == 0, job_id
    await site.until(lambda: "job.finished" in events(worker), f"job {job_id} has run")


async def test_a_killed_workers_turn_is_another_ones_and_answered_once(site: Site) -> None:
    await site.serve()
    first = await site.start("work")
    for person in PEOPLE:
        assert (await site.say("hello", sender=person)).status == 200
    await site.until(lambda: len(site.twilio.messages) > 5, "some are answered")
    first.kill()
    await site.start("work")
    await site.until(lambda: len(site.twilio.messages) >= len(PEOPLE), "all are answered")
    await site.until(lambda: not site.rows("SELECT 1 FROM outbox WHERE state <> 'sent'"), "nothing is left to send")
    assert len({message.to for message in site.twilio.messages}) == len(site.twilio.messages) == len(PEOPLE)


async def test_a_redis_that_is_killed_under_load_and_comes_back_costs_no_message_and_no_role(
    site: Site, redis: RedisServer
) -> None:
    await site.serve()
    await site.start("work")
    await site.start("schedule")
    accepted: list[str] = []

    async def write(person: str, number: int) -> None:
        await asyncio.sleep(number * 0.2)
        if (await site.say(f"message {number}", sender=person)).status == 200:
            accepted.append(person)

    writing = [asyncio.create_task(write(person, number)) for number in range(5) for person in PEOPLE]
    await site.until(lambda: len(accepted) > 20, "some are taken in")
    redis.stop(signal.SIGKILL)
    await asyncio.sleep(0.3)  # while it is away webhooks are refused and workers wait
    redis.start()
    await asyncio.gather(*writing)
    await site.until_ready()
    assert (await site.say("the last", sender=PEOPLE[0])).status == 200
    recorded = "SELECT count(*) FROM messages WHERE direction = 'in'"
    await site.until(lambda: site.rows(recorded)[0][0] >= len(accepted) + 1, "all that was taken in is recorded")
    await site.until(lambda: not site.rows(UNANSWERED), "all of it is answered")
    assert [process.exit_code for process in site.processes] == [None] * 3
    sent = [message.body for message in site.twilio.messages]
    committed = site.rows("SELECT count(*) FROM outbox WHERE state = 'sent'")[0][0]
    assert len(sent) == committed


UNANSWERED = """
    SELECT 1 FROM messages WHERE direction = 'in' AND outcome IS NULL
    UNION ALL SELECT 1 FROM outbox WHERE state <> 'sent'
"""


async def test_webhooks_are_answered_503_while_redis_is_away(site: Site, redis: RedisServer) -> None:
    serve = await site.serve()
    redis.stop()
    assert (await site.say("hello")).status == 503
    redis.start()
    await site.until_ready(serve)
    assert (await site.say("hello")).status == 200
