"""What Twilio says about our account and our numbers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from convoq.channels.twilio.account import TwilioAccount
from convoq.clock import WallClock
from convoq.loopback.twilio import LoopbackTwilio
from tests.channels.conftest import settings

Opener = Callable[..., Awaitable[TwilioAccount]]


@pytest.fixture
async def opener() -> AsyncIterator[Opener]:
    opened = []

    async def open_account(url: str, **changes: object) -> TwilioAccount:
        opened.append(await TwilioAccount.open(settings(url, **changes), clock=WallClock()))
        return opened[-1]

    yield open_account
    for account in opened:
        await account.close()


async def test_the_account_is_checked(loopback: LoopbackTwilio, opener: Opener) -> None:
    account = await opener(loopback.url)
    assert (await account.check()).ok
    loopback.account_status = "suspended"
    check = await account.check()
    assert (check.ok, check.detail) == (False, "Loopback is suspended")
    wrong = await (await opener(loopback.url, auth_token="wrong")).check()
    assert not wrong.ok
    assert "20003" in wrong.detail
    away = await (await opener("http://127.0.0.1:9")).check()
    assert "could not be reached" in away.detail


async def test_a_numbers_webhook_is_read(loopback: LoopbackTwilio, opener: Opener) -> None:
    loopback.numbers["+15557654321"] = {"sms_url": "https://bot.example.com/twilio/inbound", "sms_method": "POST"}
    account = await opener(loopback.url)
    urls = await account.webhook_urls("+15557654321")
    assert urls
    assert (urls.sms_url, urls.sms_method) == ("https://bot.example.com/twilio/inbound", "POST")
    assert (urls.fallback_url, urls.application_sid) == ("", "")
    assert await account.webhook_urls("+15550000000") is None
    assert await account.webhook_urls("whatsapp:+14155238886") is None
