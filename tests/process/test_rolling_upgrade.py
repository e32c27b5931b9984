"""Older releases on PostgreSQL beside this one: an upgrade brings the schema first, and says who has to stop."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from convoq.db.postgres.migrations import known, oldest_code
from tests.process.harness import LONGEST_WAIT, ROOT_PATH, Process, Site, open_site
from tests.skips import NOT_TO_BE_INSTALLED

pytestmark = [pytest.mark.process, pytest.mark.long]

REPOSITORY = Path(__file__).parents[2]
NEWEST = known()[-1].version
OLDEST_CODE = max(oldest_code(migration) for migration in known())  #: that may work with the newest schema


def git(*words: str) -> bytes:
    # safe.directory: CI's checkout may belong to another user than the one that runs the tests.
    command = ("git", "-c", f"safe.directory={REPOSITORY}", "-C", str(REPOSITORY), *words)
    try:
        return subprocess.run(command, check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"{NOT_TO_BE_INSTALLED} read the repository's history, where older releases come from: {error}")


def release_before(version: int, directory: Path) -> Path:
    """convoq as it was before the migration of this number came, unpacked below `directory`."""
    added = git("log", "--format=%H", "--diff-filter=A", "--", f"convoq/migrations/postgres/{version:04}_*").split()
    if not added:
        pytest.skip(f"{NOT_TO_BE_INSTALLED} reach back to migration {version}: the checkout's history begins later")
    with tarfile.open(fileobj=io.BytesIO(git("archive", f"{added[-1].decode()}^", "convoq"))) as archive:
        archive.extractall(directory, filter="data")
    return directory


@pytest.fixture
async def site(tmp_path: Path, postgres_url: str) -> AsyncIterator[Site]:
    async with open_site(tmp_path) as site:
        site.settings.pop("CONVOQ_DATABASE__PATH")
        site.settings["CONVOQ_DATABASE__URL"] = postgres_url
        yield site


async def start_old(site: Site, release: Path, role: str) -> Process:
    return await site.start(role, PYTHONPATH=str(release))


def migrate(site: Site) -> None:
    """As an operator does before the upgrade, with this release."""
    environ = site.settings | ROOT_PATH
    command = (sys.executable, "-m", "convoq", "db", "migrate")
    subprocess.run(command, check=True, env=environ, cwd=site.directory, timeout=LONGEST_WAIT)


def schema(site: Site) -> int:
    with psycopg.connect(site.settings["CONVOQ_DATABASE__URL"]) as connection:
        [version] = connection.execute("SELECT version FROM schema_version").fetchall()[0]
    return int(version)


def answered_by(worker: Process) -> int:
    """Turns that this worker has ended."""
    return sum(one["event"] == "job.finished" and one["kind"] == "process_ai_response" for one in worker.events)


def why_it_ended(process: Process) -> str:
    [line] = [line for line in process.output.splitlines() if line.startswith("convoq: ")]
    return line


@pytest.mark.skipif(
    OLDEST_CODE == NEWEST, reason=f"{NOT_TO_BE_INSTALLED} have it: the newest schema is for this release alone"
)
async def test_an_older_worker_answers_beside_this_one_on_the_new_schema(site: Site, tmp_path: Path) -> None:
    release = release_before(NEWEST, tmp_path / "old")
    old_serve, old = await start_old(site, release, "serve"), await start_old(site, release, "work")
    await site.until_ready(old_serve)
    assert (await site.say("before")).status == 200
    await site.until(lambda: answered_by(old) == 1, "the old release answers on its own schema")
    assert schema(site) < NEWEST

    migrate(site)
    assert schema(site) == NEWEST
    new = await site.start("work")
    await site.until(lambda: any(one["event"] == "role.started" for one in new.events), "this release works beside it")
    # A worker that is stopped claims nothing, so that it is known which of the two answers.
    old.pause()
    assert (await site.say("to this release")).status == 200
    await site.until(lambda: answered_by(new) == 1, "this release answers")
    old.resume()
    new.pause()
    assert (await site.say("to the old one")).status == 200
    await site.until(lambda: answered_by(old) == 2, "the old release answers on the new schema")
    new.resume()
    for number in range(20):
        assert (await site.say("to either", sender=f"whatsapp:+1555200{number:04}")).status == 200
    said = 23
    await site.until(lambda: len(site.twilio.messages) >= said, "all are answered")

    old_serve.terminate()
    old.terminate()
    assert [await old_serve.ended(), await old.ended()] == [0, 0]
    await site.serve()
    assert (await site.say("after")).status == 200
    await site.until(lambda: len(site.twilio.messages) >= said + 1, "this release goes on alone")
    new.terminate()
    assert await new.ended() == 0
    assert len(site.twilio.messages) == said + 1  # none twice
    with psycopg.connect(site.settings["CONVOQ_DATABASE__URL"]) as connection:
        outcomes = connection.execute(
            "SELECT outcome, count(*) FROM messages WHERE direction = 'in' GROUP BY outcome"
        ).fetchall()
    assert outcomes == [("answered", said + 1)]


async def test_a_worker_too_old_for_the_new_schema_stops_and_says_why(site: Site, tmp_path: Path) -> None:
    release = release_before(OLDEST_CODE, tmp_path / "old")
    old = await start_old(site, release, "work")
    await site.until(lambda: any(one["event"] == "role.started" for one in old.events), "the old release works")
    migrate(site)
    assert await old.ended() == 78
    again = await start_old(site, release, "work")
    assert await again.ended() == 78
    # The first may have looked between two of the migrations, each of which is a step of its own.
    assert re.search(rf"has schema \d+, which needs a convoq that knows {OLDEST_CODE}", why_it_ended(old))
    assert f"has schema {NEWEST}, which needs a convoq that knows {OLDEST_CODE}" in why_it_ended(again)
    for process in (old, again):
        assert why_it_ended(process).endswith("start the newer convoq that wrote it")
