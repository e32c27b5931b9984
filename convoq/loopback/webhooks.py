"""The person's side of the loopback Twilio: inbound messages and delivery statuses, posted as Twilio posts them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from convoq.channels.twilio.signature import SIGNATURE_HEADER, sign
from convoq.clock import Clock
from convoq.loopback.messages import Answer, TwilioMessage

_INBOUND_BUDGET_SECONDS: Final = 15.0  # what Twilio gives a webhook
_STATUS_TRIES: Final = 6
_SMS_FIELDS: Final = {
    **{f"{side}{part}": "" for side in ("From", "To") for part in ("City", "State", "Zip")},
    "FromCountry": "US",
    "ToCountry": "US",
}


class WebhookSender:
    """Signs with the account's token and tries again as Twilio does; `received` is what people wrote, oldest first."""

    def __init__(
        self, *, account_sid: str, auth_token: str, clock: Clock, retry_delay: float, new_hex: Callable[[int], str]
    ) -> None:
        self.account_sid = account_sid
        self.auth_token = auth_token
        self.received: list[TwilioMessage] = []
        self._clock = clock
        self._retry_delay = retry_delay  #: seconds
        self._new_hex = new_hex
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None

    def new_sid(self, prefix: str = "SM") -> str:
        return prefix + self._new_hex(16)

    async def deliver(
        self,
        webhook_url: str,
        *,
        from_: str,
        to: str,
        body: str = "",
        sid: str | None = None,
        media: Sequence[tuple[str, str]] = (),
        token: str | None = None,
        forged: bool = False,
        extra: Mapping[str, str] | None = None,
        signed_url: str | None = None,
        retries: int = 0,
        budget: float = _INBOUND_BUDGET_SECONDS,
    ) -> Answer:
        """Posts a person's message to a webhook, signed as Twilio signs it.

        `media` are (URL, content type) pairs; `extra` adds fields or replaces some. `token` signs instead of the
        account's own, `forged` breaks the signature, `signed_url` is what is signed when a proxy stands in between.
        `retries` is Twilio's `#rc=...&rp=all`: the same message again after a failed connection, a timeout or an
        error. `budget` is in seconds, for each try.
        """
        sid = sid or self.new_sid("MM" if media else "SM")
        form = self.inbound_form(from_=from_, to=to, body=body, sid=sid, media=media, extra=extra)
        if all(message.sid != sid for message in self.received):
            self._receive(form, media)
        signature = sign(token or self.auth_token, signed_url or webhook_url, form)
        return await self._post_until_taken(
            webhook_url, form, "forged" + signature[6:] if forged else signature, retries=retries, budget=budget
        )

    async def post_form(
        self,
        url: str,
        form: Sequence[tuple[str, str]],
        signature: str | None,
        *,
        budget: float = _INBOUND_BUDGET_SECONDS,
    ) -> Answer:
        """Posts any form with any signature, once."""
        return await self._post(url, form, self._headers(signature), budget)

    def inbound_form(
        self,
        *,
        from_: str,
        to: str,
        body: str = "",
        sid: str,
        media: Sequence[tuple[str, str]] = (),
        extra: Mapping[str, str] | None = None,
    ) -> list[tuple[str, str]]:
        """The form that Twilio sends for such a message, in Twilio's order."""
        form = {"SmsMessageSid": sid, "NumMedia": str(len(media)), "SmsSid": sid, "SmsStatus": "received"}
        form |= _whatsapp_fields(from_, media) if from_.startswith("whatsapp:") else _SMS_FIELDS
        form |= {"Body": body, "To": to, "NumSegments": "1", "MessageSid": sid, "AccountSid": self.account_sid}
        for index, (url, content_type) in enumerate(media):
            form |= {f"MediaContentType{index}": content_type, f"MediaUrl{index}": url}
        form |= {"From": from_, "ApiVersion": "2010-04-01", **(extra or {})}
        return list(form.items())

    def status_form(self, message: TwilioMessage, status: str, error_code: int | None = None) -> list[tuple[str, str]]:
        """The form of one delivery status."""
        form = {"SmsSid": message.sid, "SmsStatus": status, "MessageStatus": status, "To": message.to}
        form |= {"MessageSid": message.sid, "AccountSid": self.account_sid, "From": message.from_}
        if message.messaging_service_sid:
            form["MessagingServiceSid"] = message.messaging_service_sid
        if message.to.startswith("whatsapp:"):
            form |= {"ChannelPrefix": "whatsapp", "ChannelInstallSid": "XE" + "0" * 32}
        if error_code is not None:
            form["ErrorCode"] = str(error_code)
        return [*form.items(), ("ApiVersion", "2010-04-01")]

    def _receive(self, form: Sequence[tuple[str, str]], media: Sequence[tuple[str, str]]) -> None:
        fields = dict(form)
        message = TwilioMessage(
            sid=fields["MessageSid"],
            to=fields["To"],
            from_=fields["From"],
            body=fields["Body"],
            created=self._clock.now(),
            direction="inbound",
            status="received",
            media=media,
        )
        self.received.append(message)
        self._changed.set()

    async def _call_back(self, message: TwilioMessage, url: str, status: str, error_code: int | None) -> None:
        """Posts one delivery status, again after an error of the server or no answer."""
        form = self.status_form(message, status, error_code)
        signature = sign(self.auth_token, url, form)
        for _ in range(_STATUS_TRIES):
            answer = await self.post_form(url, form, signature)
            if answer.status is not None:
                message.answers.append(answer.status)
                self._changed.set()
                if answer.status < 500:
                    return
            await self._pause(self._retry_delay)

    async def _post_until_taken(
        self, url: str, form: Sequence[tuple[str, str]], signature: str, *, retries: int, budget: float
    ) -> Answer:
        headers = self._headers(signature)  # the same token on every try: that is what it is for
        tries = 0
        while True:
            tries += 1
            answer = await self._post(url, form, headers, budget)
            failed = answer.status is None or answer.status >= 400
            if not failed or tries > retries:
                return Answer(answer.status, answer.text, answer.content_type, tries)
            await asyncio.sleep(self._retry_delay)

    async def _post(
        self, url: str, form: Sequence[tuple[str, str]], headers: Mapping[str, str], budget: float
    ) -> Answer:
        if self._session is None:
            raise RuntimeError("the loopback Twilio is not started")
        target = URL(url.partition("#")[0], encoded=True)  # yarl would normalize what was signed as it stands
        content_type = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
        try:
            async with self._session.post(
                target,
                data=urlencode(form).encode(),
                headers={**content_type, **headers},
                timeout=aiohttp.ClientTimeout(total=budget),
                allow_redirects=False,
            ) as response:
                return Answer(response.status, await response.text(errors="replace"), response.content_type)
        except (aiohttp.ClientError, TimeoutError):
            return Answer(None)

    def _headers(self, signature: str | None) -> dict[str, str]:
        headers = {"I-Twilio-Idempotency-Token": self._new_hex(16), "User-Agent": "TwilioProxy/1.1"}
        return headers if signature is None else {**headers, SIGNATURE_HEADER: signature}

    async def _pause(self, delay: float) -> None:
        """Waits `delay` seconds, but not beyond close()."""
        if delay > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), delay)


def _whatsapp_fields(from_: str, media: Sequence[tuple[str, str]]) -> dict[str, str]:
    kind = media[0][1].partition("/")[0] if media else "text"
    fields = {"ProfileName": "Ana", "MessageType": kind, "ReferralNumMedia": "0"}
    digits = from_.removeprefix("whatsapp:+")
    return fields | {"WaId": digits} if digits.isdigit() else fields
