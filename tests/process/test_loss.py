"""What becomes of the roles when their files are taken away: no 200 into a void, and an end with a clear line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.harness import Process, Site

pytestmark = [pytest.mark.process, pytest.mark.long]

ROLES = ["serve", "schedule", "work"]
HARMS: dict[str, Callable[[Path], object]] = {
    "the file is moved away": lambda path: path.rename(path.with_name("moved")),
    "a copy is put in its place": lambda path: _replace(path),
    "the log is removed": lambda path: path.with_name("convoq.db-wal").unlink(),
    "the gate is removed": lambda path: (path.with_name("convoq.db.run") / "gate").unlink(),
}


def _replace(path: Path) -> None:
    path.with_name("copy").write_bytes(path.read_bytes())
    path.with_name("copy").replace(path)


def said(process: Process) -> list[str]:
    return [line for line in process.output.splitlines() if not line.startswith("{")]


@pytest.mark.parametrize("harm", HARMS)
async def test_the_next_webhook_hears_503_and_serve_ends_with_78(site: Site, harm: str) -> None:
    serve = await site.serve()
    assert (await site.say("before")).status == 200
    HARMS[harm](site.database)
    assert (await site.say("after")).status == 503
    assert await serve.ended() == 78
    [line] = said(serve)
    assert "while convoq was running" in line


async def test_what_was_acknowledged_before_the_log_was_removed_is_answered_later(site: Site) -> None:
    roles = [await site.serve(), await site.start("schedule")]
    for number in range(3):
        assert (await site.say(f"hello {number}", sender=f"whatsapp:+1555123{number:04d}")).status == 200
    await site.until(lambda: "role.started" in roles[1].output, "the scheduler has the file open, too")
    site.database.with_name("convoq.db-wal").unlink()
    assert [await role.ended() for role in roles] == [78, 78]
    await site.start("work")
    await site.until_quiet()
    assert len(site.twilio.messages) == 3


@pytest.mark.parametrize("log", ["with its log", "without its log"])
async def test_a_file_that_was_moved_away_and_put_back_has_all_that_was_acknowledged(site: Site, log: str) -> None:
    serve = await site.serve()
    for number in range(3):
        assert (await site.say(f"hello {number}", sender=f"whatsapp:+1555123{number:04d}")).status == 200
    site.database.rename(site.database.with_name("moved"))
    assert await serve.ended() == 78
    if log == "without its log":
        for ending in ("-wal", "-shm"):
            site.database.with_name(f"convoq.db{ending}").unlink(missing_ok=True)
    site.database.with_name("moved").rename(site.database)
    await site.start("work")
    await site.until_quiet()
    assert len(site.twilio.messages) == 3


async def test_no_role_begins_a_new_file_where_one_was(site: Site) -> None:
    serve = await site.serve()
    assert (await site.say("kept")).status == 200
    serve.kill()
    await serve.wait()
    site.database.rename(site.database.with_name("moved"))
    processes = [await site.start(role) for role in ROLES]
    assert [await process.ended() for process in processes] == [78, 78, 78]
    for process in processes:
        [line] = said(process)
        assert "convoq.db: is missing, but convoq.db-wal, the log of one, is there" in line
    site.database.with_name("moved").rename(site.database)
    assert site.rows("SELECT count(*) FROM jobs") == [(1,)]
