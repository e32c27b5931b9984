"""The model and Twilio are reached the same way: through a real proxy, behind a real TLS server, or directly."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from convoq.ai import build_responder
from convoq.ai.base import Allowance, Author, ContextLine, ModelCall, ReplyContext
from convoq.channels.base import Failure, SendFailed
from convoq.channels.twilio.account import TwilioAccount
from convoq.channels.twilio.rest import TwilioRest
from convoq.clock import WallClock
from convoq.errors import RetryLater, Unrecoverable
from convoq.loopback.model import LoopbackModel
from convoq.loopback.twilio import ACCOUNT_SID, AUTH_TOKEN, LoopbackTwilio
from convoq.settings import AiSettings, TwilioSettings
from tests.outbound.authority import Authority, tls_in_front_of
from tests.outbound.conftest import HOST
from tests.outbound.proxy import ProxyServer, proxy_server

Ask = Callable[[str], Awaitable[str]]


async def ask_twilio(url: str) -> str:
    settings = TwilioSettings.model_validate(
        {"account_sid": ACCOUNT_SID, "auth_token": AUTH_TOKEN, "api_base_url": url, "timeout": 5}
    )
    account = await TwilioAccount.open(settings, clock=WallClock())
    try:
        return (await account.check()).detail
    finally:
        await account.close()


async def ask_model(url: str) -> str:
    return await ask_settings(AiSettings(model="m", base_url=f"{url}/v1", timeout=5))


async def ask_settings(ai: AiSettings) -> str:
    async def record(_: ModelCall) -> None: ...

    responder = build_responder(ai, (), base_dir=Path())
    context = ReplyContext(
        conversation_id=1, persona="default", channel="twilio", our_address="+1", address="+2", contact_name=None,
        lines=(ContextLine(author=Author.CONTACT, text="hello", at=0),), now=0, record=record,
        allowance=Allowance(requests=1, output_tokens=100),
    )  # fmt: skip
    try:
        reply = await responder.reply(context)
    except (RetryLater, Unrecoverable) as error:
        return str(error)
    finally:
        await responder.close()
    return reply.text


@pytest.fixture(params=["twilio", "model"])
async def asked(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Ask, int, str]]:
    """How one of the two is asked, the port that it listens on, and what it answers."""
    if request.param == "twilio":
        async with LoopbackTwilio() as twilio:
            yield ask_twilio, urlsplit(twilio.url).port or 0, "Loopback is active"
    else:
        async with LoopbackModel(lambda _: "hello yourself") as model:
            yield ask_model, urlsplit(model.base_url).port or 0, "hello yourself"


@asynccontextmanager
async def proxied(port: int, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ProxyServer]:
    """The way to HOST: a proxy, and a TLS server behind it."""
    async with tls_in_front_of(port, authority) as tls_port, proxy_server(tls_port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        yield proxy


@pytest.mark.usefixtures("believed")
async def test_another_host_is_asked_through_the_proxy_and_believed_for_the_authority_of_our_own(
    asked: tuple[Ask, int, str], authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, port, answer = asked
    async with proxied(port, authority, monkeypatch) as proxy:
        assert await ask(f"https://{HOST}") == answer
        assert proxy.asked == [f"CONNECT {HOST}:443"]


async def test_an_authority_that_nobody_named_is_not_believed(
    asked: tuple[Ask, int, str], authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, port, _ = asked
    async with proxied(port, authority, monkeypatch):
        assert "certificate" in (await ask(f"https://{HOST}")).lower()


async def test_this_machine_is_asked_directly(asked: tuple[Ask, int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    ask, port, answer = asked
    async with proxy_server(port) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert await ask(f"http://127.0.0.1:{port}") == answer
        assert proxy.asked == []


async def test_a_model_that_only_its_providers_variable_places_on_this_machine_is_asked_directly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with LoopbackModel(lambda _: "hello yourself") as model, proxy_server(9) as proxy:
        monkeypatch.setenv("OLLAMA_BASE_URL", model.base_url)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert await ask_settings(AiSettings(model="ollama:m", timeout=5)) == "hello yourself"
        assert proxy.asked == []


@pytest.mark.usefixtures("believed")
async def test_the_proxy_alone_hears_its_user_name_and_password(
    asked: tuple[Ask, int, str], authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, port, answer = asked
    async with proxied(port, authority, monkeypatch) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("http://", "http://ann:p%40ss@"))
        assert await ask(f"https://{HOST}") == answer
        assert proxy.logins == ["Basic " + b64encode(b"ann:p@ss").decode()]


async def test_a_host_without_tls_is_asked_through_the_proxy_for_http(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        LoopbackModel(lambda _: "hello yourself") as model,
        proxy_server(urlsplit(model.base_url).port or 0) as proxy,
    ):
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert await ask_model(f"http://{HOST}") == "hello yourself"
        assert proxy.asked == [f"POST http://{HOST}/v1/chat/completions"]


async def test_what_the_proxy_refused_was_certainly_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = TwilioSettings.model_validate(
        {"account_sid": ACCOUNT_SID, "auth_token": AUTH_TOKEN, "api_base_url": f"https://{HOST}", "timeout": 5}
    )
    async with proxy_server(9, refuse="407 Proxy Authentication Required") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("http://", "http://ann:s3cret@"))
        rest = await TwilioRest.open(settings, clock=WallClock())
        try:
            with pytest.raises(SendFailed) as caught:
                await rest.ask(rest.client.messages.create_async(to="+1", from_="+2", body="hello"))
        finally:
            await rest.close()
    assert (caught.value.failure, str(caught.value)) == (
        Failure.NOT_SENT, "the proxy refused: HTTP 407 Proxy Authentication Required",
    )  # fmt: skip
