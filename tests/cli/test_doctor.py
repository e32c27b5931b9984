"""`convoq doctor`: every check against the real thing behind it, in a good state and in bad ones."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from convoq.api.app import create_app
from convoq.api.server import serve
from convoq.channels.twilio.account import WebhookUrls
from convoq.channels.twilio.webhooks import webhooks
from convoq.cli.doctor import machine as checks_machine
from convoq.cli.doctor import services as checks_services
from convoq.cli.doctor.machine import has_wal_reset_bug
from convoq.db import Database
from convoq.loopback.faults import ModelFault
from convoq.loopback.model import LoopbackModel
from convoq.loopback.twilio import ACCOUNT_SID, AUTH_TOKEN, LoopbackTwilio
from convoq.monitoring.findings import Finding, Level
from convoq.monitoring.processes import Processes
from convoq.settings import ServerSettings, TwilioSettings
from convoq.settings.load import load
from tests.cli.scenes import Place, bury, job

NUMBER = "+15551230000"
WANTED = "https://bot.example.com/twilio/inbound#rc=5&rp=all&ct=2000&rt=4000"


def findings(
    place: Place, capsys: pytest.CaptureFixture[str], *arguments: str, code: int | None = None
) -> dict[str, Any]:
    """What `doctor --offline` found, by name."""
    ended = place.run("doctor", "--json", "--offline", *arguments)
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    assert document["ok"] == (ended == 0)
    if code is not None:
        assert ended == code
    return {check["name"]: check for check in document["checks"]}


async def announce(database: Database) -> None:
    for role in ("serve", "schedule", "work"):
        await Processes(database).announce(role, role, "fine")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def whole(port: int | None = None, **more: str) -> str:
    """Settings that every role can start with."""
    return f"""
[server]
port = {port or free_port()}
public_url = "{more.get("public_url", "https://bot.example.com")}"
[twilio]
account_sid = "{ACCOUNT_SID}"
auth_token = "{more.get("token", AUTH_TOKEN)}"
api_base_url = "{more.get("twilio", "https://api.twilio.com")}"
[ai]
model = "{more.get("model", "offline")}"
{more.get("ai", "")}
[[numbers]]
address = "{NUMBER}"
persona = "default"
[[personas]]
name = "default"
"""


def test_a_place_that_is_ready_has_no_failure(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())
    place.prepare(announce)

    found = findings(place, capsys, code=0)

    good = {name for name, check in found.items() if check["level"] == "ok"}
    assert good >= {
        *("settings", "python", "disk space", "flush", "database", "permissions", "schema", "writing", "soundness"),
        *("clocks", "serve", "schedule", "work", "dead letters", "needs", "port"),
    }
    assert "ms" in found["flush"]["detail"]


def test_people_get_a_line_a_check_and_what_to_do(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())

    assert place.run("doctor", "--offline") == 0

    out = capsys.readouterr().out
    assert (
        "warn  work           not running\n                     -> convoq work, or systemctl start convoq-work\n" in out
    )
    assert out.splitlines()[-1].startswith("0 failures, ")


def test_every_mistake_in_the_settings_is_a_failure(
    bare: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bare.configure("[server]\nprt = 1\n")
    monkeypatch.setenv("CONVOQ_DATABSE__PATH", "x")

    assert bare.run("doctor", "--offline") == 1

    out = capsys.readouterr().out
    assert 'convoq.toml:2: server.prt: unknown setting. Did you mean "port"?' in out
    assert "CONVOQ_DATABSE__PATH" in out
    assert "SQLite" in out


def test_what_a_role_misses_is_a_failure_but_a_secret_may_be_elsewhere(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.configure(whole().replace("auth_token", "#auth_token"))
    assert findings(place, capsys, code=0)["needs"]["level"] == "warn"

    place.prepare(lambda database: Processes(database).announce("s", "serve", "fine"))
    place.prepare(lambda database: Processes(database).announce("w", "work", "fine"))
    assert findings(place, capsys, code=0)["needs"]["level"] == "note"

    place.configure(whole(model="openai:x", ai="api_key = 'k'") + "model = 'anthropic:y'\n")
    needs = findings(place, capsys, code=0)["needs"]
    assert (needs["level"], needs["detail"]) == (
        "note",
        "work: ANTHROPIC_API_KEY is not set for this command; the running work has it",
    )

    place.configure(whole().replace("public_url", "#public_url"))
    needs = findings(place, capsys, code=1)["needs"]
    assert (needs["level"], needs["detail"][:34]) == ("fail", "serve: server.public_url is not se")
    assert "CONVOQ_SERVER__PUBLIC_URL" in needs["fix"]


def test_without_a_database_the_doctor_creates_none(bare: Place, capsys: pytest.CaptureFixture[str]) -> None:
    bare.configure(whole())

    found = findings(bare, capsys, code=0)

    assert found["database"]["level"] == "note"
    assert "schema" not in found
    assert [path.name for path in bare.directory.iterdir()] == ["convoq.toml"]


def test_a_file_that_others_can_read_is_a_warning(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())
    place.database.chmod(0o644)

    permissions = findings(place, capsys)["permissions"]

    assert (permissions["level"], permissions["fix"]) == ("warn", f"chmod 600 {place.database}")


def test_a_schema_of_a_newer_convoq_is_a_failure(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())
    place.execute("PRAGMA user_version = 99")

    assert findings(place, capsys, code=1)["schema"]["level"] == "fail"


def test_a_damaged_file_is_a_failure(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())
    place.database.write_bytes(b"not a database, " * 1000)

    assert findings(place, capsys, code=1)["schema"]["level"] == "fail"


def test_a_program_that_holds_the_database_is_found(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())
    place.prepare(announce)
    holder = sqlite3.connect(place.database, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(2.5, holder.execute, ["ROLLBACK"])
    release.start()
    try:
        writing = findings(place, capsys, code=0)["writing"]
    finally:
        release.join()
        holder.close()
    assert writing["level"] == "warn"
    assert "another program holds the database" in writing["detail"]


def test_a_wall_clock_that_was_set_is_a_warning(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())
    place.execute("UPDATE clock SET anchor = anchor - 9000000")

    clocks = findings(place, capsys)["clocks"]

    assert clocks["level"] == "warn"
    assert "2 h forward" in clocks["detail"]


def test_silent_roles_and_dead_letters_are_warnings(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())
    place.prepare(lambda database: Processes(database).announce("w", "work", "fine"))
    place.execute("UPDATE processes SET seen_at = seen_at - 100000")
    place.prepare(lambda database: bury(database, [job()]))

    found = findings(place, capsys, code=0)

    assert (found["work"]["level"], found["work"]["detail"]) == ("warn", "silent for 1 min")
    assert found["dead letters"]["detail"] == "1 job failed for good"


def test_a_killed_role_is_a_warning(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())
    place.prepare(lambda database: Processes(database).announce("w", "work", "fine"))
    with subprocess.Popen(["true"]) as process:
        place.execute("UPDATE processes SET pid = ?", process.pid)

    work = findings(place, capsys, code=0)["work"]

    assert (work["level"], work["detail"]) == ("warn", f"gone: its process {process.pid} was killed or crashed")


def test_a_full_disk_is_a_failure(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole() + "[database]\nmin_free_mb = 1000000000\n")

    assert findings(place, capsys, code=1)["disk space"]["level"] == "fail"


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ((3, 6, 23), False), ((3, 7, 0), True), ((3, 40, 1), True), ((3, 44, 5), True), ((3, 44, 6), False),
        ((3, 45, 0), True), ((3, 50, 6), True), ((3, 50, 7), False), ((3, 51, 0), True), ((3, 51, 2), True),
        ((3, 51, 3), False), ((3, 52, 0), False), ((4, 0, 0), False),
    ],
)  # fmt: skip
def test_builds_with_the_wal_reset_bug_are_known(version: tuple[int, ...], affected: bool) -> None:
    assert has_wal_reset_bug(version) is affected
    if version >= checks_machine.OLDEST_SQLITE:
        assert checks_machine.sqlite(version).level is (Level.WARN if affected else Level.OK)


def test_what_is_too_old_is_a_failure() -> None:
    assert checks_machine.sqlite((3, 36, 0)).level is Level.FAIL
    assert checks_machine.python((3, 10, 9)).level is Level.FAIL


def test_a_network_filesystem_is_a_failure(
    bare: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("convoq.db.files.filesystem", lambda _: "nfs4")
    bare.configure(whole())

    assert findings(bare, capsys, code=1)["filesystem"]["level"] == "fail"


def test_a_port_that_another_program_has_is_a_failure(bare: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") as port:
        bare.configure(whole(port))
        found = findings(bare, capsys, code=1)

    assert found["port"]["detail"] == f"127.0.0.1:{port} is taken by another program"


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A server of somebody else's."""
    import threading

    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                if connection.recv(65536):
                    connection.sendall(answer)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


# --- What is outside: over real sockets


class Accepting:
    """Storage that is fine."""

    def accepts(self) -> bool:
        return True

    async def reasons(self) -> list[str]:
        return []

    async def enqueue(self, job: object) -> Any:
        raise AssertionError(f"the doctor must not enqueue anything: {job}")


@asynccontextmanager
async def webhook_server(port: int, *, token: str = AUTH_TOKEN, public_url: str | None = None) -> AsyncIterator[str]:
    """The real webhook app; the loopback address is its public one."""
    url = f"http://127.0.0.1:{port}"
    settings = ServerSettings(port=port, public_url=url)
    app = create_app(
        webhooks(TwilioSettings(account_sid=ACCOUNT_SID, auth_token=SecretStr(token)), public_url or url),
        enqueuer=Accepting(),
        settings=settings,
        readiness=Accepting(),
    )
    server = await serve(app, settings)
    try:
        yield url
    finally:
        await server.stop()


async def examined(place: Place) -> dict[str, Finding]:
    loaded = load(place.config, environ={})
    return {finding.name: finding async for finding in checks_services.examine(loaded, offline=False)}


async def test_all_is_well_outside(bare: Place) -> None:
    port = free_port()
    async with LoopbackTwilio() as twilio, webhook_server(port) as url:
        twilio.numbers[NUMBER] = {"sms_url": f"{url}/twilio/inbound#rc=5&rp=all", "sms_method": "POST"}
        model = LoopbackModel()
        await model.start()
        try:
            endpoint = f'base_url = "{model.base_url}"'
            bare.configure(whole(port, public_url=url, twilio=twilio.url, model="test-model", ai=endpoint))
            found = await examined(bare)
        finally:
            await model.close()

    assert {name: finding.level for name, finding in found.items()} == {
        **dict.fromkeys(("port", "public URL", "signature", "Twilio", NUMBER, "model"), Level.OK),
        "status URL": Level.NOTE,
    }
    assert "test-model answered in" in found["model"].detail
    assert len(model.requests) == 1


async def test_another_token_is_told_by_the_signature(bare: Place) -> None:
    port = free_port()
    async with webhook_server(port, token="another") as url:
        bare.configure(whole(port, public_url=url, twilio="http://127.0.0.1:9"))
        found = await examined(bare)

    assert found["signature"].level is Level.FAIL
    assert "auth token" in str(found["signature"].fix)
    assert found["Twilio"].level is Level.FAIL
    assert found["model"].level is Level.WARN


async def test_another_public_url_is_told_by_the_signature(bare: Place) -> None:
    port = free_port()
    async with webhook_server(port, public_url="https://old.example.com") as url:
        bare.configure(whole(port, public_url=url, twilio="http://127.0.0.1:9"))
        found = await examined(bare)

    assert (found["public URL"].level, found["signature"].level) == (Level.OK, Level.FAIL)


@pytest.mark.parametrize(
    ("status", "level", "words"),
    [
        (301, Level.FAIL, "redirects (301)"), (502, Level.FAIL, "the proxy answers 502"),
        (404, Level.NOTE, "is not passed on (404)"), (200, Level.FAIL, "not by convoq"),
    ],
)  # fmt: skip
async def test_a_proxy_that_answers_instead_is_told(status: int, level: Level, words: str, bare: Place) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text='["ok"]', headers={"Location": "https://elsewhere.example.com"})

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        bare.configure(whole(public_url=url, twilio="http://127.0.0.1:9"))
        found = await examined(bare)
    finally:
        await runner.cleanup()

    assert found["public URL"].level is level
    assert words in found["public URL"].detail
    assert found["signature"].level is Level.FAIL


async def test_a_public_url_that_nobody_answers_is_a_failure(bare: Place) -> None:
    bare.configure(whole(public_url=f"http://127.0.0.1:{free_port()}", twilio="http://127.0.0.1:9"))

    found = await examined(bare)

    assert found["public URL"].level is Level.FAIL
    assert "cannot be reached" in found["public URL"].detail
    assert found["port"].level is Level.OK


async def test_a_wrong_token_is_told_by_twilio(bare: Place) -> None:
    async with LoopbackTwilio(auth_token="the-right-one") as twilio:
        bare.configure(whole(public_url="http://127.0.0.1:9", twilio=twilio.url))
        found = await examined(bare)

    assert found["Twilio"].level is Level.FAIL
    assert NUMBER not in found
    assert AUTH_TOKEN not in str(found)


async def test_a_number_that_the_account_lacks_is_a_failure(bare: Place) -> None:
    async with LoopbackTwilio() as twilio:
        bare.configure(whole(public_url="http://127.0.0.1:9", twilio=twilio.url))
        found = await examined(bare)

    assert found[NUMBER].level is Level.FAIL
    assert found[NUMBER].detail == "the account has no such number"


async def test_a_model_that_refuses_is_a_failure(bare: Place) -> None:
    model = LoopbackModel()
    model.mode = ModelFault.UNAUTHORIZED
    await model.start()
    try:
        bare.configure(
            whole(public_url="http://127.0.0.1:9", twilio="http://127.0.0.1:9", model="m",
                  ai=f'base_url = "{model.base_url}"')
        )  # fmt: skip
        found = await examined(bare)
    finally:
        await model.close()

    assert found["model"].level is Level.FAIL
    assert "ai.api_key" in str(found["model"].fix)


@pytest.mark.parametrize(
    ("found", "level", "words"),
    [
        ({}, Level.OK, "come here"),
        ({"sms_url": WANTED.partition("#")[0]}, Level.WARN, "not tried again"),
        ({"sms_url": WANTED.replace("rc=5", "rc=1")}, Level.WARN, "not tried again"),
        ({"sms_url": WANTED.replace("rp=all", "rp=ct")}, Level.WARN, "not tried again"),
        ({"sms_url": WANTED.replace("rp=all", "rp=ct,5xx")}, Level.OK, "come here"),
        ({"sms_url": "https://demo.twilio.com/welcome"}, Level.FAIL, "https://demo.twilio.com/welcome"),
        ({"sms_url": WANTED.replace("/twilio", "//twilio")}, Level.FAIL, "its webhook is"),
        ({"sms_url": ""}, Level.FAIL, "not set"),
        ({"sms_method": "GET"}, Level.FAIL, "not POST"),
        ({"application_sid": "AP1"}, Level.FAIL, "TwiML App AP1"),
    ],
)
def test_a_numbers_webhook_is_judged(found: dict[str, str], level: Level, words: str) -> None:
    urls = WebhookUrls(**{"sms_url": WANTED, "sms_method": "POST", "fallback_url": "", "application_sid": "", **found})

    finding = checks_services.judge_webhook(NUMBER, urls, WANTED, in_service=False)

    assert finding.level is level
    assert words in finding.detail
    assert level is Level.OK or WANTED in str(finding.fix)


def test_in_a_messaging_service_the_services_webhook_counts() -> None:
    urls = WebhookUrls(sms_url="", sms_method="POST", fallback_url="", application_sid="")

    finding = checks_services.judge_webhook(NUMBER, urls, WANTED, in_service=True)

    assert finding.level is Level.NOTE
    assert WANTED in str(finding.fix)


async def test_a_check_that_breaks_is_a_finding() -> None:
    async def broken() -> Finding:
        raise LookupError("unforeseen")

    finding = await checks_services._guarded("port", broken())

    assert (finding.level, finding.detail) == (Level.FAIL, "LookupError: unforeseen")
