"""`convoq dev` as a process: it keeps to this machine, guards its page, and ends in order."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from convoq.daemon.process import open_storage
from convoq.dev import command as dev
from convoq.dev.worker import WorkerSupervisor
from convoq.errors import ConfigError
from convoq.jobs import message_job
from convoq.loopback.environment import Account
from convoq.loopback.process import RoleProcess, convoq
from convoq.loopback.waiting import until
from convoq.notify.opening import named_targets
from convoq.settings.load import load
from tests.dev.page.phone_page import DevProcess, databases, dev_process

pytestmark = [pytest.mark.process, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevProcess]:
    async with dev_process(tmp_path_factory.mktemp("dev")) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="module")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def token(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url) as response:
        found = re.search(r'name="token" value="([^"]+)"', await response.text())
    assert found is not None
    return found[1]


async def press(session: aiohttp.ClientSession, url: str, *, token: str, **headers: str) -> int:
    data = {"token": token}
    async with session.post(f"{url}phones/1/again", data=data, headers=headers, allow_redirects=False) as response:
        return response.status


async def test_the_page_forbids_everything_that_is_not_its_own(
    running: DevProcess, session: aiohttp.ClientSession
) -> None:
    async with session.get(running.url) as response:
        html = await response.text()
        policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-store"
    assert " style=" not in html
    assert not re.search(r"\son[a-z]+=", html)
    assert not re.search(r'(?:src|href)="(?!/static/|/"|/console"|#)', html)


async def test_every_answer_carries_the_headers(running: DevProcess, session: aiohttp.ClientSession) -> None:
    for path in ("favicon.ico", "static/page.js", "static/page.css", "events", "static/page.py", "nowhere"):
        async with session.get(running.url + path) as response:
            assert "default-src 'none'" in response.headers["Content-Security-Policy"], path
            assert response.status == (404 if path in ("static/page.py", "nowhere") else 200), path


async def test_another_host_name_is_refused(running: DevProcess, session: aiohttp.ClientSession) -> None:
    async with session.get(running.url, headers={"Host": "evil.example"}) as response:
        assert response.status == 421


async def test_a_form_of_the_page_is_taken(running: DevProcess, session: aiohttp.ClientSession) -> None:
    own = await token(session, running.url)
    assert await press(session, running.url, token=own) == 303
    assert await press(session, running.url, token=own, **{"Sec-Fetch-Site": "same-origin", "Origin": "null"}) == 303
    assert await press(session, running.url, token=own, Origin=running.url.rstrip("/")) == 303


async def test_a_form_of_another_site_is_refused(running: DevProcess, session: aiohttp.ClientSession) -> None:
    own = await token(session, running.url)
    assert await press(session, running.url, token="guessed") == 403
    assert await press(session, running.url, token=own, Origin="http://evil.example") == 403
    assert await press(session, running.url, token=own, Origin="null") == 403
    assert await press(session, running.url, token=own, **{"Sec-Fetch-Site": "cross-site"}) == 403
    assert await press(session, running.url, token=own, **{"Sec-Fetch-Site": "same-site"}) == 403
    async with session.post(f"{running.url}worker/kill") as response:
        assert response.status == 403


async def test_what_a_page_has_seen_is_not_sent_again(running: DevProcess, session: aiohttp.ClientSession) -> None:
    own = await token(session, running.url)
    async with session.get(f"{running.url}events") as stream:
        seen = await next_id(stream)
    async with session.get(f"{running.url}events", headers={"Last-Event-ID": seen}) as stream:
        await press(session, running.url, token=own)  # which is news
        assert await next_id(stream) != seen


async def test_what_gets_no_answer_is_not_shown_as_drafted(running: DevProcess, session: aiohttp.ClientSession) -> None:
    own = await token(session, running.url)
    async with session.get(f"{running.url}events") as stream:
        for text in ("STOP", "still there?", "START"):
            async with session.post(f"{running.url}phones/3/messages", data={"token": own, "text": text}) as response:
                assert response.status == 200
        items = await answered(stream, 3, own=3)
    stop, unanswered, _ = [item for item in items if item["kind"] != "theirs"]
    assert [hint_and_steps(item) for item in (stop, unanswered)] == [
        ("a keyword: no AI answers it", ["Received", "Recorded"]), ("no answer: opted out", ["Received", "Recorded"]),
    ]  # fmt: skip


async def answered(stream: aiohttp.ClientResponse, number: int, *, own: int = 1) -> list[dict[str, Any]]:
    """What stands on a phone, once a reply is its last item and so many were written there."""
    async with asyncio.timeout(60):
        async for line in stream.content:
            if line.startswith(b"data: "):
                items: list[dict[str, Any]] = json.loads(line.removeprefix(b"data: "))["phones"][number - 1]["items"]
                written = sum(item["kind"] != "theirs" for item in items)
                if written >= own and items[-1]["kind"] == "theirs":
                    return items
    raise AssertionError("the stream ended")


def hint_and_steps(item: dict[str, Any]) -> tuple[str, list[str]]:
    """What is said of a message, and the steps that it has taken."""
    return item["hint"], [step["name"] for step in item["steps"] if step["state"] == "done"]


async def next_id(stream: aiohttp.ClientResponse) -> str:
    async with asyncio.timeout(10):
        async for line in stream.content:
            if line.startswith(b"id: "):
                return line.decode().removeprefix("id: ").strip()
    raise AssertionError("the stream ended")


async def test_an_open_page_does_not_keep_the_process(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with dev_process(tmp_path) as process, session.get(f"{process.url}events") as stream:
        await next_id(stream)
        assert len(databases(tmp_path)) == 1
        asyncio.get_running_loop().call_later(5.0, process.kill)
        assert await process.ended() == 0
        await stream.content.read()
    assert databases(tmp_path) == []
    assert "Traceback" not in process.output


async def test_the_worker_dies_with_it(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with dev_process(tmp_path) as process:
        async with session.get(f"{process.url}events") as stream:
            worker = await ready_worker(stream)
        process.kill()
        await process.wait()
        await asyncio.to_thread(wait_until_gone, worker)


async def ready_worker(stream: aiohttp.ClientResponse) -> int:
    """The pid of the worker, once it says that it is ready."""
    async with asyncio.timeout(20):
        async for line in stream.content:
            if line.startswith(b"data: "):
                worker = json.loads(line.removeprefix(b"data: "))["worker"]
                if worker["state"] == "ready":
                    return int(worker["pid"])
    raise AssertionError("the stream ended")


def wait_until_gone(pid: int) -> None:
    """A pidfd becomes readable when its process ends, also to a process that is not its parent."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with os.fdopen(descriptor) as ended:
        assert select.select([ended], [], [], 10)[0], f"the worker {pid} lives on"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "example.com"])
async def test_a_host_that_others_can_reach_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="no login"):
        dev.run(dev.DevArguments(host=host))


async def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, errors = await refused(tmp_path, "--port", str(port))
    line = f"convoq: cannot listen on 127.0.0.1:{port}: Address already in use; choose another --port"
    assert (code, errors.strip().splitlines()[-1]) == (1, line)
    assert databases(tmp_path) == []


async def test_a_second_dev_on_a_database_names_the_first_and_ends(tmp_path: Path) -> None:
    database = tmp_path / "kept.db"
    async with dev_process(tmp_path, "--database", str(database)) as first:
        code, errors = await refused(tmp_path, "--port", "0", "--database", str(database))
        said = f"convoq: {database}: convoq dev already runs on it (pid {first.pid}, phones at {first.url}): "
        assert (code, errors.splitlines()[-1]) == (75, said + "use that one, or give this one another --database")
        async with aiohttp.ClientSession() as session:
            assert await press(session, first.url, token=await token(session, first.url)) == 303


async def test_the_next_dev_takes_over_the_database_of_a_killed_one(tmp_path: Path) -> None:
    kept = ("--database", str(tmp_path / "kept.db"))
    async with dev_process(tmp_path, *kept) as first:
        first.kill()
        await first.wait()
        (tmp_path / "dev.log").unlink()
        async with dev_process(tmp_path, *kept) as second:
            assert second.pid is not None


async def test_a_database_on_which_a_role_runs_is_refused(tmp_path: Path) -> None:
    database = tmp_path / "real.db"
    environ = {**os.environ, "CONVOQ_DATABASE__PATH": str(database)}
    schedule = RoleProcess("schedule", environ, directory=tmp_path, log=tmp_path / "schedule.log")
    try:
        await schedule.start()
        code, errors = await refused(tmp_path, "--port", "0", "--database", str(database))
        said = f"convoq: {database}: `convoq schedule` runs on it (pid {schedule.pid}), and would send what is meant"
        assert code == 75
        assert errors.splitlines()[-1].startswith(said)
    finally:
        await schedule.stop()


async def test_a_database_on_which_real_people_wait_is_refused_as_often_as_it_is_tried(tmp_path: Path) -> None:
    database = tmp_path / "real.db"
    options = load(None, environ={"CONVOQ_DATABASE__PATH": str(database)}).options
    async with open_storage(options) as storage:
        await storage.queue.enqueue(message_job("+12025550101", "+12025550142", "for a real person"))
    for _ in range(2):
        code, errors = await refused(tmp_path, "--port", "0", "--database", str(database))
        said = f"convoq: {database}: 1 job of an installation waits there for an answer or a send, which would go"
        assert code == 78
        assert errors.splitlines()[-1].startswith(said)


async def refused(directory: Path, *arguments: str) -> tuple[int, str]:
    """Runs `convoq dev` to its end; returns its exit code and what it wrote to stderr."""
    environ = {**os.environ, "TMPDIR": str(directory)}
    ended = await asyncio.to_thread(
        subprocess.run, convoq("dev", *arguments),
        cwd=directory, capture_output=True, text=True, env=environ, timeout=60, check=False,
    )  # fmt: skip
    return ended.returncode, ended.stderr


async def test_real_tokens_and_the_file_that_was_read_are_told_in_terminal_and_header(tmp_path: Path) -> None:
    config = tmp_path / "shop.toml"
    config.write_text('[ai]\nmodel = "openai:gpt-5-mini"\nbase_url = "http://127.0.0.1:1/v1"\napi_key = "k"\n')
    config.chmod(0o600)
    spent = "Real tokens are spent: replies by openai:gpt-5-mini at http://127.0.0.1:1/v1"
    async with dev_process(tmp_path, CONVOQ_CONFIG="shop.toml") as process:
        assert told(process) == [f"phones at {process.url}", spent, f"Settings read from {config}"]
        assert {spent, f"Settings read from {config}"} <= set(await header(process.url))


async def test_a_run_that_costs_nothing_says_so(running: DevProcess) -> None:
    free = "No real tokens are spent: replies follow fixed rules until ai.model is set"
    assert told(running) == [f"phones at {running.url}", free, "No settings file was read"]
    assert {free, "No settings file was read"} <= set(await header(running.url))


def told(process: DevProcess) -> list[str]:
    return re.findall(r"^convoq dev: (.*)$", process.output, re.MULTILINE)


async def header(url: str) -> list[str]:
    """The paragraphs at the top of the page."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        html = await response.text()
    return re.findall(r"<p[^>]*>([^<]*)</p>", html.partition("</header>")[0])


async def test_open_shows_the_page_in_the_browser_of_the_person(tmp_path: Path) -> None:
    shown, browser = tmp_path / "shown", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >{shown}.part && mv {shown}.part {shown}\n')
    browser.chmod(0o700)
    async with dev_process(tmp_path, "--open", BROWSER=f"{browser} %s") as process:
        await until(shown.exists, timeout=10)
        assert shown.read_text() == f"{process.url}\n"


async def test_a_machine_without_a_browser_says_where_to_go(tmp_path: Path) -> None:
    async with dev_process(tmp_path, "--open", BROWSER="", PATH="/nowhere", DISPLAY="", WAYLAND_DISPLAY="") as process:
        said = f"found no browser to open: go to {process.url} yourself"
        await until(lambda: said in told(process), timeout=10)


async def test_real_credentials_are_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "convoq.toml"
    config.write_text(
        f'[twilio]\naccount_sid = "AC{"f" * 32}"\nauth_token = "real-token"\nauth_tokens = ["real-old"]\n'
        f'api_key_sid = "SK{"f" * 32}"\napi_key_secret = "real-secret"\n[ai]\nmodel = "offline"\n'
    )
    config.chmod(0o600)
    monkeypatch.setenv("CONVOQ_TWILIO__AUTH_TOKEN", "real-too")
    account = Account()
    loaded, environ = dev._load(config, account.settings("http://127.0.0.1:1") | dev._own_settings(1))
    twilio = loaded.options.twilio
    assert (twilio.account_sid, twilio.api_base_url) == (account.sid, "http://127.0.0.1:1")
    assert twilio.auth_tokens == ()
    secrets = [twilio.auth_token, twilio.api_key_secret]
    assert [secret.get_secret_value() for secret in secrets if secret] == [account.auth_token, account.key_secret]
    assert "real" not in "".join(value for name, value in environ.items() if name.startswith("CONVOQ_TWILIO"))
    assert environ["CONVOQ_CONFIG"] == str(config)


async def test_nobody_outside_is_told_of_what_happens_on_the_phones(tmp_path: Path) -> None:
    config = tmp_path / "convoq.toml"
    config.write_text(
        '[ai]\nmodel = "offline"\n[notify]\nurl = "https://hooks.example.com/convoq"\n'
        'secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"\n'
    )
    config.chmod(0o600)
    loaded, _ = dev._load(config, Account().settings("http://127.0.0.1:1") | dev._own_settings(1))
    assert loaded.options.notify.url is not None
    assert named_targets(loaded.options.notify) == []


@pytest.mark.parametrize(("given", "asks"), [("", True), ("[handover]\nai_may_ask = false\n", False)])
async def test_the_ai_may_hand_over_to_who_looks_at_the_page_unless_the_settings_forbid_it(
    tmp_path: Path, given: str, asks: bool
) -> None:
    config = tmp_path / "convoq.toml"
    config.write_text(f'{given}[ai]\nmodel = "offline"\n')
    loaded, environ = dev._load(config, Account().settings("http://127.0.0.1:1") | dev._own_settings(1))
    assert loaded.options.handover.ai_may_ask == asks
    assert environ.get("CONVOQ_HANDOVER__AI_MAY_ASK") == ("true" if asks else None)


async def test_store_and_queue_are_its_own_whatever_the_settings_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "convoq.toml"
    config.write_text('[queue]\nengine = "redis"\n[redis]\nurl = "redis://real.example/0"\n[ai]\nmodel = "offline"\n')
    monkeypatch.setenv("CONVOQ_QUEUE__ENGINE", "redis")
    monkeypatch.setenv("CONVOQ_DATABASE__URL", "postgresql://convoq@real.example/convoq")
    own = Account().settings("http://127.0.0.1:1") | dev._own_settings(1)
    async with dev._storage(dev.DevArguments(config=config), tmp_path / "db", own) as storage:
        loaded, environ = dev._load(config, own | storage)
    assert (loaded.options.queue.engine, loaded.options.database.url) == ("database", None)
    assert environ["CONVOQ_QUEUE__ENGINE"] == "database"


async def test_a_model_without_its_key_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("CONVOQ_AI__MODEL", "openai:gpt-5-mini")
    with pytest.raises(ConfigError, match=r"ai\.api_key is not set"):
        dev._load(None, Account().settings("http://127.0.0.1:1") | dev._own_settings(1))


async def test_a_worker_that_can_never_start_ends_it(tmp_path: Path) -> None:
    worker = WorkerSupervisor(
        {"PATH": "/usr/bin:/bin", "CONVOQ_DATABASE__PATH": str(tmp_path / "c.db")}, "http://127.0.0.1:1/"
    )
    with pytest.raises(ConfigError, match="the worker cannot start"):
        await worker.run()
    assert worker.restarts == 0


async def test_a_file_does_not_become_a_message(running: DevProcess, session: aiohttp.ClientSession) -> None:
    form = aiohttp.FormData({"token": await token(session, running.url)})
    form.add_field("text", b"from a file", filename="text.txt")
    async with session.post(f"{running.url}phones/1/messages", data=form, allow_redirects=False) as response:
        assert response.status == 400
