"""What both ends of Twilio's webhooks agree on."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from convoq.channels.twilio.webhooks import (
    INBOUND_PATH,
    STATUS_PATH,
    console_url,
    inbound_url,
    reference_in,
    status_url,
    webhooks,
)
from convoq.errors import ConfigError
from convoq.settings import TwilioSettings

PUBLIC_URL = "https://bot.example.com"


@pytest.mark.parametrize("reference", ["7", "a/b c", "ñ&m=1", "?", "100%"])
def test_a_reference_comes_back_from_the_callbacks_path(reference: str) -> None:
    url = status_url(PUBLIC_URL, reference)
    assert url.startswith(f"{PUBLIC_URL}{STATUS_PATH}?")
    assert reference_in(url.removeprefix(PUBLIC_URL)) == reference


@pytest.mark.parametrize("raw_path", [STATUS_PATH, f"{STATUS_PATH}?", f"{STATUS_PATH}?x=1", f"{STATUS_PATH}?m"])
def test_a_path_without_a_reference_has_none(raw_path: str) -> None:
    assert reference_in(raw_path) is None


def test_a_final_slash_of_the_public_url_is_not_doubled() -> None:
    assert inbound_url(f"{PUBLIC_URL}/bot/") == f"{PUBLIC_URL}/bot{INBOUND_PATH}"
    assert status_url(f"{PUBLIC_URL}/", "7") == f"{PUBLIC_URL}{STATUS_PATH}?m=7"


def test_the_console_is_given_the_inbound_url_and_the_retries() -> None:
    assert console_url(PUBLIC_URL) == f"{PUBLIC_URL}{INBOUND_PATH}#rc=5&rp=all&ct=2000&rt=4000"


def test_there_are_two_webhooks() -> None:
    settings = TwilioSettings(account_sid="AC" + "0" * 32, auth_token=SecretStr("secret"))
    assert [webhook.path for webhook in webhooks(settings, PUBLIC_URL)] == [INBOUND_PATH, STATUS_PATH]


def test_without_a_token_there_are_none() -> None:
    with pytest.raises(ConfigError, match="auth_token"):
        webhooks(TwilioSettings(account_sid="AC" + "0" * 32), PUBLIC_URL)
