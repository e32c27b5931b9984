"""A Twilio on the loopback interface, and settings that reach it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from convoq.loopback.twilio import ACCOUNT_SID, AUTH_TOKEN, LoopbackTwilio
from convoq.settings import TwilioSettings


def settings(url: str, **changes: object) -> TwilioSettings:
    known: dict[str, object] = {"account_sid": ACCOUNT_SID, "auth_token": AUTH_TOKEN, "timeout": 10}
    return TwilioSettings.model_validate({**known, "api_base_url": url, **changes})


@pytest.fixture
async def loopback() -> AsyncIterator[LoopbackTwilio]:
    async with LoopbackTwilio() as loopback:
        loopback.delivery = ()
        yield loopback
