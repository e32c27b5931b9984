"""Asks Twilio about our account and our numbers."""

from __future__ import annotations

from dataclasses import dataclass

from convoq.channels.base import SendFailed
from convoq.channels.twilio.rest import TwilioRest
from convoq.clock import Clock
from convoq.settings import TwilioSettings


@dataclass(frozen=True, slots=True)
class AccountCheck:
    """What Twilio says about our credentials."""

    ok: bool
    detail: str  #: the account's name and status, or what is wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookUrls:
    """Where Twilio takes the messages for one of our numbers, as set in its Console."""

    sms_url: str
    sms_method: str
    fallback_url: str
    application_sid: str  #: when set, it wins over sms_url


class TwilioAccount:
    """What Twilio has on record for us. Made by `open`; close it."""

    def __init__(self, rest: TwilioRest) -> None:
        self._rest = rest

    @classmethod
    async def open(cls, settings: TwilioSettings, *, clock: Clock) -> TwilioAccount:
        """`clock` is the wall clock. Raises ConfigError when Twilio cannot be asked with these settings."""
        return cls(await TwilioRest.open(settings, clock=clock))

    async def close(self) -> None:
        await self._rest.close()

    async def check(self) -> AccountCheck:
        """Whether our credentials open our account; never raises SendFailed."""
        try:
            account = await self._rest.ask(self._rest.client.api.accounts(self._rest.client.account_sid).fetch_async())
        except SendFailed as failed:
            return AccountCheck(False, str(failed))
        return AccountCheck(account.status == "active", f"{account.friendly_name or 'account'} is {account.status}")

    async def webhook_urls(self, address: str) -> WebhookUrls | None:
        """Where Twilio takes this number's SMS; None when the account has no such number or it is not a phone number
        (WhatsApp senders are not listed there). Raises SendFailed when Twilio cannot be asked."""
        if not address.startswith("+"):
            return None
        numbers = await self._rest.ask(
            self._rest.client.incoming_phone_numbers.list_async(phone_number=address, limit=1)
        )
        if not numbers:
            return None
        number = numbers[0]
        return WebhookUrls(
            sms_url=number.sms_url or "",
            sms_method=number.sms_method or "",
            fallback_url=number.sms_fallback_url or "",
            application_sid=number.sms_application_sid or "",
        )
