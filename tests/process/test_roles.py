"""The three roles as processes: how they start, stop, refuse, and share the work."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from convoq.daemon.supervision import SupervisionTimings
from convoq.db.migrations import known
from convoq.loopback.faults import hang
from tests.process.harness import LONGEST_WAIT, Process, Site

pytestmark = [pytest.mark.process, pytest.mark.long]

ROLES = ["serve", "schedule", "work"]
LONG_DRAIN = {f"CONVOQ_{role}__DRAIN_TIMEOUT": str(10 * LONGEST_WAIT) for role in ("SERVER", "WORK")}
SLOW_MODEL = """
import asyncio
from pydantic_ai import Agent
from pydantic_ai.models.function import FunctionModel

async def answer(messages, info):
    await asyncio.Event().wait()

agent = Agent(FunctionModel(answer))
"""


def said(process: Process) -> list[str]:
    """What a process wrote that is not an event of the log."""
    return [line for line in process.output.splitlines() if not line.startswith("{")]


def events(process: Process) -> list[str]:
    return [str(entry["event"]) for entry in process.events]


async def started(site: Site, process: Process) -> None:
    await site.until(lambda: "role.started" in events(process), "the role has started")


async def marked_again(site: Site, worker: Process) -> None:
    await site.until(lambda: "worker.mark_restored" in events(worker), "it is marked again")


async def start(site: Site, role: str, **env: str) -> Process:
    site.settings |= env
    process = await site.start(role)
    await started(site, process)
    return process


# --- Refusing


async def refused(site: Site, role: str, **env: str) -> list[str]:
    """The lines with which a role refuses to start, for good."""
    site.settings |= env
    process = await site.start(role)
    assert await process.ended() == 78
    assert "Traceback" not in process.output
    return said(process)


async def test_serve_without_a_public_url_says_what_to_set(site: Site) -> None:
    del site.settings["CONVOQ_SERVER__PUBLIC_URL"]
    [line] = await refused(site, "serve")
    assert line.startswith("convoq: server.public_url is not set: ")
    assert "CONVOQ_SERVER__PUBLIC_URL" in line


async def test_each_thing_that_is_missing_has_a_line(site: Site) -> None:
    for name in ("SERVER__PUBLIC_URL", "TWILIO__ACCOUNT_SID", "TWILIO__AUTH_TOKEN"):
        del site.settings[f"CONVOQ_{name}"]
    lines = await refused(site, "serve")
    assert [line.split()[1] for line in lines] == ["server.public_url", "twilio.account_sid", "twilio.auth_token"]


async def test_a_port_that_is_taken_is_said_in_one_line(site: Site) -> None:
    with socket.create_server(("127.0.0.1", site.port)):
        process = await site.start("serve")
        assert await process.ended() != 0
    [line] = said(process)
    assert f"cannot listen on 127.0.0.1:{site.port}" in line


@pytest.mark.parametrize("role", ROLES)
async def test_a_database_of_a_newer_version_is_refused(site: Site, role: str) -> None:
    with closing(sqlite3.connect(site.database)) as newer:
        newer.execute(f"PRAGMA user_version = {known()[-1].version + 1}")
    [line] = await refused(site, role)
    assert "start the newer convoq" in line


async def test_a_damaged_database_is_refused(site: Site) -> None:
    site.database.write_bytes(b"a letter to somebody" * 500)
    [line] = await refused(site, "work")
    assert "is not a sound database" in line


async def test_a_handler_that_cannot_be_loaded_is_refused(site: Site) -> None:
    [line] = await refused(site, "work", CONVOQ_HANDLERS='{"shop.k": "nowhere:handler"}')
    assert line.startswith('convoq: handlers.shop.k: "nowhere:handler" cannot be imported')


async def test_a_file_that_is_replaced_stops_a_running_serve(site: Site) -> None:
    serve = await site.serve()
    site.database.rename(site.database.with_suffix(".old"))
    site.database.touch()
    assert await serve.ended() == 78
    [line] = said(serve)
    assert "moved, replaced or deleted while convoq was running" in line


async def test_a_newer_version_that_migrates_stops_a_running_worker(site: Site) -> None:
    work = await start(site, "work")
    with closing(sqlite3.connect(site.database)) as newer:
        newer.execute(f"PRAGMA user_version = {known()[-1].version + 1}")
    assert await work.ended() == 78


# --- Stopping


@pytest.mark.parametrize("role", ROLES)
async def test_sigterm_ends_an_idle_role_in_order_and_waits_for_no_drain(site: Site, role: str) -> None:
    process = await start(site, role, **LONG_DRAIN)
    assert site.rows("SELECT role FROM processes") == [(role,)]
    process.terminate()
    assert await process.ended() == 0
    assert (events(process)[-1], said(process)) == ("role.stopped", [])
    assert site.rows("SELECT role FROM processes") == []


async def test_the_last_role_to_end_leaves_one_file(site: Site) -> None:
    process = await start(site, "schedule")
    process.terminate()
    await process.ended()
    assert sorted(path.name for path in site.directory.glob("convoq.db*")) == ["convoq.db", "convoq.db.run"]


@pytest.fixture
def slow_model(site: Site) -> None:
    """A model that takes a minute."""
    (site.directory / "slow_model.py").write_text(SLOW_MODEL)
    (site.directory / "convoq.toml").write_text('[[personas]]\nname = "default"\nagent = "slow_model:agent"\n')


TURNS = "SELECT state, attempt FROM jobs WHERE kind = 'process_ai_response'"


async def handling(site: Site) -> None:
    await site.until(
        lambda: (
            bool(site.rows("SELECT 1 FROM lanes WHERE receipt IS NOT NULL AND lane LIKE 'turn|%'"))
            and bool(site.rows("SELECT 1 FROM messages WHERE tries = 1"))
        ),
        "the message is being handled",
    )


async def test_a_worker_that_is_stopped_mid_reply_hands_the_message_back(site: Site, slow_model: None) -> None:
    await site.serve()
    work = await start(site, "work", CONVOQ_WORK__DRAIN_TIMEOUT="0.3")
    await site.say("hello")
    await handling(site)
    work.terminate()
    assert await work.ended() == 0
    assert site.rows(TURNS) == [("ready", 0)]
    assert site.rows("SELECT receipt FROM lanes") == [(None,)]
    assert site.rows("SELECT tries, failures FROM messages") == [(0, 0)]


async def test_a_second_signal_hands_everything_back_at_once(site: Site, slow_model: None) -> None:
    await site.serve()
    work = await start(site, "work", CONVOQ_WORK__DRAIN_TIMEOUT="60")
    await site.say("hello")
    await handling(site)
    work.terminate()
    await site.until(lambda: "worker.draining" in events(work), "the worker drains")
    work.terminate()
    assert await work.ended() == 0
    assert site.rows(TURNS) == [("ready", 0)]


async def test_a_worker_that_is_stopped_mid_send_lets_it_finish(site: Site) -> None:
    await site.serve()
    work = await start(site, "work", CONVOQ_TWILIO__TIMEOUT="1")
    site.twilio.fail_next(hang())
    await site.say("hello")
    await site.twilio.wait_for(lambda twilio: twilio.requests == 1)
    work.terminate()
    assert await work.ended() == 0
    assert site.rows("SELECT state FROM outbox") == [("ambiguous",)]
    await site.start("work")
    await site.until_quiet()
    assert len(site.twilio.messages) == 1


# --- Working


async def test_a_dead_workers_message_is_taken_over_long_before_its_lease_is_over(site: Site, slow_model: None) -> None:
    site.settings["CONVOQ_QUEUE__VISIBILITY_TIMEOUT"] = str(10 * LONGEST_WAIT)
    await site.serve()
    doomed = await start(site, "work")
    heir = await start(site, "work")
    await site.say("hello")
    await handling(site)
    [(holder,)] = site.rows("SELECT worker FROM lanes")
    pid = int(holder.rsplit("-", 2)[1])
    victim = doomed if doomed.pid == pid else heir
    victim.kill()
    await site.until(lambda: site.rows("SELECT worker FROM lanes WHERE receipt IS NOT NULL") not in ([(holder,)], []),
                     "the other worker has it")  # fmt: skip
    assert site.rows("SELECT attempt FROM jobs WHERE kind = 'process_ai_response'") == [(2,)]


async def test_workers_whose_marks_are_removed_keep_their_claims_and_mark_themselves_again(
    site: Site, slow_model: None
) -> None:
    await site.serve()
    workers = [await start(site, "work") for _ in range(2)]
    await site.say("hello")
    await handling(site)
    holding = site.rows("SELECT worker, receipt FROM lanes")
    for mark in site.directory.glob("convoq.db.run/*.*"):
        mark.unlink()
    for worker in workers:
        await marked_again(site, worker)
    assert site.rows("SELECT worker, receipt FROM lanes") == holding
    assert not any("worker.recovered" in events(worker) for worker in workers)
    [holder] = [worker for worker in workers if f"-{worker.pid}-" in holding[0][0]]
    holder.kill()
    await site.until(lambda: site.rows("SELECT attempt FROM jobs WHERE kind = 'process_ai_response'") == [(2,)],
                     "the other worker takes over from the one that was killed")  # fmt: skip


async def test_two_workers_answer_each_person_once(site: Site) -> None:
    await site.serve()
    for _ in range(2):
        await start(site, "work")
    people = [f"whatsapp:+1555123{number:04d}" for number in range(20)]
    answers = await asyncio.gather(*(site.say("hello", sender=person) for person in people))
    assert {answer.status for answer in answers} == {200}
    await site.twilio.wait_for_messages(20)
    await site.until_quiet()
    assert sorted(message.to for message in site.twilio.messages) == people


async def test_drain_answers_what_waits_and_ends(site: Site) -> None:
    serve = await site.serve()
    await site.say("hello")
    serve.terminate()
    await serve.ended()
    site.twilio.delivery = ()
    work = await site.start("work", "--drain")
    assert await work.ended() == 0
    assert len(site.twilio.messages) == 1


# --- systemd


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """Stands in for systemd: hears what a service tells."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.setblocking(False)
        yield listener, str(path)


async def heard(listener: socket.socket, wanted: str) -> str:
    """The first message that contains it."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(20):
        while wanted not in (message := (await loop.sock_recv(listener, 4096)).decode()):
            pass
    return message


@pytest.mark.parametrize(
    ("role", "status"), [("serve", "listening on"), ("schedule", "scheduling"), ("work", "8 slots, 0 busy")]
)
async def test_systemd_hears_that_a_role_is_ready_and_that_it_stops(
    site: Site, manager: tuple[socket.socket, str], role: str, status: str
) -> None:
    listener, path = manager
    process = await site.start(role, NOTIFY_SOCKET=path)
    assert status in await heard(listener, "READY=1")
    process.terminate()
    await heard(listener, "STOPPING=1")
    assert await process.ended() == 0


async def test_the_watchdog_is_fed_as_often_as_systemd_wants(site: Site, manager: tuple[socket.socket, str]) -> None:
    listener, path = manager
    await site.start("schedule", NOTIFY_SOCKET=path, WATCHDOG_USEC="100000")
    await heard(listener, "READY=1")
    begun = time.monotonic()
    for _ in range(20):
        assert "STATUS=scheduling" in await heard(listener, "WATCHDOG=1")
    assert time.monotonic() - begun < 20 * SupervisionTimings().check / 2  # far from one look after the other


async def test_systemd_hears_when_a_reload_begins_and_ends(site: Site, manager: tuple[socket.socket, str]) -> None:
    listener, path = manager
    process = await site.start("schedule", NOTIFY_SOCKET=path)
    await heard(listener, "READY=1")
    assert process.pid is not None
    os.kill(process.pid, signal.SIGHUP)
    begun = await heard(listener, "RELOADING=1")
    assert 0 < int(begun.partition("MONOTONIC_USEC=")[2]) <= time.monotonic_ns() // 1000
    await heard(listener, "READY=1")
