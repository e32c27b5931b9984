"""The doctor's checks of the port, the public URL, Twilio and the model, over real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from convoq.api.app import create_app
from convoq.api.server import serve
from convoq.channels.twilio.account import WebhookUrls
from convoq.channels.twilio.webhooks import webhooks
from convoq.cli.doctor import twilio as twilio_checks
from convoq.cli.doctor.guard import guarded
from convoq.loopback.environment import free_port
from convoq.loopback.faults import ModelFault
from convoq.loopback.model import LoopbackModel
from convoq.loopback.twilio import ACCOUNT_SID, AUTH_TOKEN, LoopbackTwilio
from convoq.monitoring.findings import Finding, Level
from convoq.settings import ServerSettings, TwilioSettings
from tests.cli.doctor.harness import NUMBER, examined, findings, whole
from tests.cli.scenes import Place

URLS = ("port", "proxy", "public URL")
WANTED = "https://bot.example.com/twilio/inbound#rc=5&rp=all&ct=2000&rt=4000"


def test_a_port_that_another_program_has_is_a_failure(bare: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") as port:
        bare.configure(whole(port))
        found = findings(bare, capsys, code=1)

    assert found["port"]["detail"] == f"127.0.0.1:{port} is taken by another program"


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A server that is not convoq."""
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
        **dict.fromkeys(("port", "proxy", "public URL", "signature", "Twilio", NUMBER, "model"), Level.OK),
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


async def test_a_public_url_without_an_answer_is_a_failure(bare: Place) -> None:
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


async def test_what_cannot_be_asked_without_a_secret_is_said(bare: Place) -> None:
    async with webhook_server(free_port()) as url:
        text = whole(public_url=url, model="openai:gpt-5-mini").replace("auth_token", "#auth_token")
        bare.configure(text)
        found = await examined(bare)

    assert {name: (finding.level, finding.detail) for name, finding in found.items() if name not in URLS} == {
        "signature": (Level.NOTE, "not asked: twilio.auth_token is not set for this command"),
        "Twilio": (Level.NOTE, "not asked: twilio.auth_token is not set for this command"),
        "model": (Level.NOTE, "openai:gpt-5-mini: not asked: ai.api_key is not set for this command"),
    }


async def test_what_cannot_be_asked_without_a_setting_is_said(bare: Place) -> None:
    bare.configure("[twilio]\napi_key_sid = 'SK" + 32 * "0" + "'\n")
    found = await examined(bare)

    assert found["public URL"].detail == "not asked: server.public_url is not set for this command"
    assert "server.public_url and twilio.account_sid and twilio.auth_token are not" in found["signature"].detail
    assert "twilio.account_sid and twilio.api_key_secret are not set" in found["Twilio"].detail


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

    finding = twilio_checks.judge_webhook(NUMBER, urls, WANTED, in_service=False)

    assert finding.level is level
    assert words in finding.detail
    assert level is Level.OK or WANTED in str(finding.fix)


def test_in_a_messaging_service_the_services_webhook_counts() -> None:
    urls = WebhookUrls(sms_url="", sms_method="POST", fallback_url="", application_sid="")

    finding = twilio_checks.judge_webhook(NUMBER, urls, WANTED, in_service=True)

    assert finding.level is Level.NOTE
    assert WANTED in str(finding.fix)


async def test_a_check_that_breaks_is_a_finding() -> None:
    async def broken() -> Finding:
        raise LookupError("unforeseen")

    finding = await guarded("port", broken())

    assert (finding.level, finding.detail) == (Level.FAIL, "LookupError: unforeseen")


async def test_one_line_says_which_way_twilio_and_the_model_are_asked(
    bare: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    local = 'base_url = "http://127.0.0.1:11434/v1"'
    bare.configure(whole(twilio="https://api.twilio.com", model="llama", ai=local))
    found = await way(bare)
    assert (found.level, found.detail) == (Level.OK, "api.twilio.com and 127.0.0.1 directly")

    monkeypatch.setenv("HTTPS_PROXY", "http://ann:s3cret@proxy.example.com:3128")
    assert (await way(bare)).detail == (
        "api.twilio.com through http://proxy.example.com:3128 (HTTPS_PROXY); 127.0.0.1 directly"
    )
    bare.configure(whole(twilio="https://api.twilio.com", model="openai:gpt-5-mini"))
    assert (await way(bare)).detail == (
        "api.twilio.com and api.openai.com through http://proxy.example.com:3128 (HTTPS_PROXY)"
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    found = await way(bare)
    assert (found.level, found.detail) == (
        Level.FAIL, f"SSL_CERT_FILE: {tmp_path / 'ca.pem'}: No such file or directory",
    )  # fmt: skip


async def way(place: Place) -> Finding:
    return (await examined(place, offline=True))["proxy"]
