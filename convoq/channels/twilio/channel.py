"""Sends messages through Twilio, looks for those whose fate is unknown, and asks about the account."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp

from convoq.channels.base import DeliveryStatus, Failure, Inbound, Outbound, SendFailed, Sent
from convoq.channels.twilio import inbound, split, status
from convoq.channels.twilio.errors import Refused, Unreadable, send_failed
from convoq.channels.twilio.webhooks import status_url
from convoq.clock import Clock
from convoq.errors import ConfigError
from convoq.settings import TwilioSettings

if TYPE_CHECKING:
    from convoq.channels.twilio.http import RestClient

_SID: Final = re.compile(r"(?:SM|MM)[0-9a-f]{32}", re.ASCII)
_PAGE: Final = 50
_PAGES: Final = 10  # of one person's conversation since a send a moment ago: more is not worth a stalled lane
_SLACK: Final = 2000  # ms; Twilio's dates have whole seconds, and not all its servers one clock
_TRIAL: Final = "Sent from your Twilio trial account - "
_ON_THIS_MACHINE: Final = frozenset({"127.0.0.1", "::1", "localhost"})


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


class TwilioChannel:
    """The channel to SMS, WhatsApp and whatever else Twilio speaks. Made by `create`."""

    name = inbound.CHANNEL

    def __init__(
        self, client: Any, http: RestClient, settings: TwilioSettings, *, public_url: str | None, clock: Clock
    ) -> None:
        self._client = client
        self._http = http
        self._settings = settings
        self._public_url = public_url
        self._clock = clock

    @classmethod
    async def create(cls, settings: TwilioSettings, *, public_url: str | None, clock: Clock) -> TwilioChannel:
        """A channel with a connection pool of its own; close it.

        Delivery statuses are asked for at `public_url` (None: do not ask for any).
        `clock` is the wall clock. Raises ConfigError when the settings cannot send.
        """
        account_sid, username, secret = _credentials(settings)
        _check_base_url(settings.api_base_url)
        client_class, http_class = await asyncio.to_thread(_import_sdk)  # 0.2 s that the event loop keeps
        http = http_class(base_url=settings.api_base_url, timeout=settings.timeout)
        # An environment of its own: TWILIO_EDGE and TWILIO_REGION would send requests past api_base_url.
        client = client_class(username, secret, account_sid, http_client=http, environment={"TWILIO_EDGE": ""})
        return cls(client, http, settings, public_url=public_url, clock=clock)

    def parse_inbound(self, form: Sequence[tuple[str, str]]) -> Inbound:
        return inbound.parse_inbound(form)

    def parse_status(self, form: Sequence[tuple[str, str]], reference: str | None) -> DeliveryStatus:
        return status.parse_status(form, reference)

    def split(self, text: str) -> list[str]:
        return split.split(text)

    async def send(self, message: Outbound) -> Sent:
        """Asks Twilio once to send the message. Raises SendFailed, which says whether it may be asked again."""
        created = await self._ask(self._client.messages.create_async(**self._request(message)))
        if not (isinstance(created.sid, str) and _SID.fullmatch(created.sid)):
            raise SendFailed(Failure.AMBIGUOUS, "Twilio answered without a message SID")
        return Sent(created.sid)

    async def find(self, message: Outbound, *, within: float) -> list[Sent]:
        """Messages at Twilio with these addresses and this text, created in the last `within` seconds, oldest first.

        Judged by Twilio's clock, with two seconds of slack. One that failed since is among them: it was taken, and
        its own status says what became of it. Raises SendFailed when Twilio cannot be asked.
        """
        asked = time.monotonic()
        query = {"to": message.address, "from_": message.our_address, "page_size": _PAGE}
        answer = await self._ask(self._client.messages.page_with_http_info_async(**query))
        age = within + time.monotonic() - asked  # the answer's date is later than our question
        since = self._twilios_now(answer.headers) - round(age * 1000) - _SLACK
        found: list[tuple[datetime, Sent]] = []
        async for record in self._records(answer.data, since):
            same = _bare(record.body or "") == _bare(message.body)
            if same and record.direction == "outbound-api" and _ms(record.date_created) >= since:
                found.append((record.date_created, Sent(record.sid)))
        found.reverse()  # the list comes newest first; the sort keeps that order within one second
        return [sent for _, sent in sorted(found, key=lambda pair: pair[0])]

    async def account_check(self) -> AccountCheck:
        """Whether our credentials open our account; never raises SendFailed."""
        try:
            account = await self._ask(self._client.api.accounts(self._client.account_sid).fetch_async())
        except SendFailed as failed:
            return AccountCheck(False, str(failed))
        return AccountCheck(account.status == "active", f"{account.friendly_name or 'account'} is {account.status}")

    async def webhook_urls(self, address: str) -> WebhookUrls | None:
        """Where Twilio takes this number's SMS; None when the account has no such number or it is not a phone number
        (WhatsApp senders are not listed there). Raises SendFailed when Twilio cannot be asked."""
        if not address.startswith("+"):
            return None
        numbers = await self._ask(self._client.incoming_phone_numbers.list_async(phone_number=address, limit=1))
        if not numbers:
            return None
        number = numbers[0]
        return WebhookUrls(
            sms_url=number.sms_url or "",
            sms_method=number.sms_method or "",
            fallback_url=number.sms_fallback_url or "",
            application_sid=number.sms_application_sid or "",
        )

    async def close(self) -> None:
        await self._http.close()

    def _request(self, message: Outbound) -> dict[str, object]:
        request: dict[str, object] = {
            "to": message.address,
            "from_": message.our_address,
            "body": message.body,
            "validity_period": self._settings.validity_period,
        }
        # With both, the service's rules hold and the reply still comes from the address that was written to.
        if self._settings.messaging_service_sid:
            request["messaging_service_sid"] = self._settings.messaging_service_sid
        if self._public_url:
            request["status_callback"] = status_url(self._public_url, message.reference)
        return request

    def _twilios_now(self, headers: Mapping[str, str]) -> int:
        """Twilio's wall clock in ms, from its answer; ours when the answer does not say."""
        date = next((value for name, value in headers.items() if name.lower() == "date"), "")
        try:
            return _ms(parsedate_to_datetime(date))
        except (ValueError, OverflowError):
            return self._clock.now()

    async def _records(self, page: Any, since: int) -> AsyncIterator[Any]:
        """The messages of this page and the next ones, newest first, until a whole page is older."""
        for _ in range(_PAGES):
            records = _listed(page)
            for record in records:
                yield record
            if not page.next_page_url or all(_ms(record.date_created) < since for record in records):
                return
            page = await self._ask(page.next_page_async())

    async def _ask(self, request: Awaitable[Any]) -> Any:
        """One request to Twilio; whatever goes wrong comes out as SendFailed."""
        from twilio.base.exceptions import TwilioException

        try:
            return await request
        except Refused as refused:
            raise send_failed(refused, now=self._clock.now()) from refused
        except UnicodeEncodeError as error:
            raise SendFailed(Failure.PERMANENT, "the message is not valid Unicode") from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise SendFailed(Failure.NOT_SENT, f"Twilio could not be reached: {_words(error)}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise SendFailed(Failure.AMBIGUOUS, f"Twilio's answer was lost: {_words(error)}") from error
        # What the SDK raises when an answer is JSON but not what it expects.
        except (Unreadable, TwilioException, ValueError, TypeError, AttributeError, LookupError) as error:
            raise SendFailed(Failure.AMBIGUOUS, f"Twilio's answer could not be read: {_words(error)}") from error


def _import_sdk() -> tuple[Any, type[RestClient]]:
    from twilio.rest import Client

    from convoq.channels.twilio.http import RestClient

    import_module("twilio.rest.api.v2010.account.message")  # else the SDK loads it at the first send, in the event loop
    return Client, RestClient


def _credentials(settings: TwilioSettings) -> tuple[str, str, str]:
    """Account, user name and password; an API key comes before the auth token."""
    if not settings.account_sid:
        raise ConfigError("twilio.account_sid is missing: it stands on the first page of the Twilio Console")
    if settings.api_key_sid and settings.api_key_secret:
        return settings.account_sid, settings.api_key_sid, settings.api_key_secret.get_secret_value()
    if settings.api_key_sid or settings.api_key_secret:
        raise ConfigError("twilio.api_key_sid and twilio.api_key_secret go together: one of them is missing")
    if not settings.auth_token:
        raise ConfigError("twilio.auth_token is missing: without it or an API key nothing can be sent")
    return settings.account_sid, settings.account_sid, settings.auth_token.get_secret_value()


def _check_base_url(base_url: str) -> None:
    url = urlsplit(base_url)
    if url.scheme == "https" and url.hostname:
        return
    if url.scheme != "http" or url.hostname not in _ON_THIS_MACHINE:
        raise ConfigError("twilio.api_base_url must start with https:// (http:// only on this machine)")


def _listed(page: Any) -> list[Any]:
    """A page's messages. Raises SendFailed when it is not a list of messages."""
    try:
        records = list(page)
        if all(isinstance(record.date_created, datetime) for record in records):
            return records
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise SendFailed(Failure.AMBIGUOUS, f"Twilio's list could not be read: {_words(error)}") from error
    raise SendFailed(Failure.AMBIGUOUS, "Twilio's list could not be read: a message without a date")


def _bare(body: str) -> str:
    """The text as we sent it: Twilio may trim its edges, and a trial account puts a sentence in front."""
    return body.removeprefix(_TRIAL).strip()


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _words(error: Exception) -> str:
    """aiohttp's timeouts say nothing by themselves."""
    return str(error) or type(error).__name__
