"""Sends messages through Twilio, and looks for those whose fate is unknown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from convoq.channels.base import DeliveryStatus, Failure, Inbound, Listed, Outbound, SendFailed, Sent
from convoq.channels.markdown import PLAIN, Markup, render
from convoq.channels.twilio import inbound, rates, split, status
from convoq.channels.twilio.lists import MessageLists, messages_on, ms
from convoq.channels.twilio.rest import TwilioRest
from convoq.channels.twilio.webhooks import status_url
from convoq.clock import Clock
from convoq.jobs import NewJob
from convoq.logs import log
from convoq.settings import TwilioSettings

#: What WhatsApp shows as bold, italic, struck through and code. Twilio's other channels show text as it is.
WHATSAPP: Final = Markup(bold="*", italic="_", strike="~", code="`", fence="```")

_SID: Final = re.compile(r"(?:SM|MM)[0-9a-f]{32}", re.ASCII)
_PAGE_SIZE: Final = 50
_MAX_PAGES: Final = 10  # of one person's conversation since a send a moment ago: more is not worth a stalled lane
_SLACK_MS: Final = 2000  # Twilio's dates have whole seconds, and not all its servers one clock
_LEAST_ALIKE: Final = 0.6  # of the words: smart encoding and a shortened link leave more, another text has fewer
_LINK: Final = re.compile(r"https?://\S+|\b(?:[a-z0-9-]+\.)+[a-z]{2,}/\S*", re.ASCII | re.IGNORECASE)
_LIGATURES: Final = str.maketrans({"œ": "oe", "Œ": "OE", "æ": "ae", "Æ": "AE"})
_TRIAL_PREFIX: Final = "Sent from your Twilio trial account - "


class TwilioChannel:
    """The channel to SMS, WhatsApp and whatever else Twilio speaks. Made by `create`."""

    name = inbound.CHANNEL

    def __init__(
        self, rest: TwilioRest, settings: TwilioSettings, *, public_url: str | None, clock: Clock,
        rate_of: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        self._rest = rest
        self._lists = MessageLists(rest, settings.api_base_url)
        self._settings = settings
        self._public_url = public_url
        self._clock = clock
        self._rate_of = rate_of or {}

    @classmethod
    async def create(
        cls, settings: TwilioSettings, *, public_url: str | None, clock: Clock,
        rate_of: Mapping[str, float] | None = None,
    ) -> TwilioChannel:  # fmt: skip
        """A channel with a connection pool of its own; close it.

        Delivery statuses are asked for at `public_url` (None: do not ask for any).
        `clock` is the wall clock; `rate_of` has what addresses of ours send in a second, where that is not usual.
        Raises ConfigError when the settings cannot send.
        """
        rest = await TwilioRest.open(settings, clock=clock)
        return cls(rest, settings, public_url=public_url, clock=clock, rate_of=rate_of)

    def parse_inbound(self, form: Sequence[tuple[str, str]]) -> Inbound:
        return inbound.parse_inbound(form)

    def parse_status(self, form: Sequence[tuple[str, str]], reference: str | None) -> DeliveryStatus:
        return status.parse_status(form, reference)

    def render(self, markdown: str, address: str) -> str:
        return render(markdown, WHATSAPP if address.startswith("whatsapp:") else PLAIN)

    def split(self, text: str, *, most: int | None = None) -> list[str]:
        parts = split.split(text)
        if most is None or len(parts) <= most:
            return parts
        log.warning("message.shortened", parts=len(parts), kept=most)
        return split.split(text, most=most)

    def airtime(self, our_address: str, body: str) -> float:
        return rates.airtime(our_address, body, self._rate_of.get(our_address)) if self._settings.pace else 0.0

    async def send(self, message: Outbound) -> Sent:
        """Asks Twilio once to send the message. Raises SendFailed, which says whether it may be asked again."""
        created = await self._rest.ask(self._rest.client.messages.create_async(**self._request(message)))
        if not (isinstance(created.sid, str) and _SID.fullmatch(created.sid)):
            raise SendFailed(Failure.AMBIGUOUS, "Twilio answered without a message SID")
        return Sent(created.sid)

    async def find(self, message: Outbound, *, age: Callable[[], float]) -> list[Sent]:
        """Messages at Twilio with these addresses, created in the last `age()` seconds, that may be this one.

        The text chooses among several: Twilio may have rewritten ours. Only one that has nothing in common with it is
        another program's. Judged by Twilio's clock, with two seconds of slack. One that failed since is among them:
        it was taken, and its own status says what became of it. Raises SendFailed when Twilio cannot be asked.
        """
        query = {"to": message.address, "from_": message.our_address, "page_size": _PAGE_SIZE}
        answer = await self._rest.ask(self._rest.client.messages.page_with_http_info_async(**query))
        # Now, not before: the answer's date is later than our question, by as long as this machine was suspended.
        since = self._twilio_now(answer.headers) - round(age() * 1000) - _SLACK_MS
        found: list[tuple[float, datetime, Sent]] = []
        async for record in self._records(answer.data, since):
            alike = _likeness(record.body or "", message.body)
            if alike and record.direction == "outbound-api" and ms(record.date_created) >= since:
                found.append((-alike, record.date_created, Sent(record.sid)))
        found.reverse()  # the list comes newest first; the sort keeps that order within one second
        return [sent for _, _, sent in sorted(found, key=lambda one: one[:2])]

    def list_received(self, our_address: str, since: int) -> AsyncIterator[Listed]:
        return self._lists.received(our_address, since)

    async def list_sent(self, our_address: str, address: str, since: int) -> list[Listed]:
        return await self._lists.sent(our_address, address, since)

    async def receive(self, listed: Listed, *, answered: bool) -> NewJob:
        return await self._lists.receive(listed, answered=answered)

    async def close(self) -> None:
        await self._rest.close()

    def _request(self, message: Outbound) -> dict[str, object]:
        request: dict[str, object] = {
            "to": message.address,
            "from_": message.our_address,
            **_content(message),
            "validity_period": self._settings.validity_period,
        }
        # With both, the service's rules hold and the reply still comes from the address that was written to.
        if self._settings.messaging_service_sid:
            request["messaging_service_sid"] = self._settings.messaging_service_sid
        if self._public_url:
            request["status_callback"] = status_url(self._public_url, message.reference)
        return request

    def _twilio_now(self, headers: Mapping[str, str]) -> int:
        """Twilio's wall clock in ms, from its answer; ours when the answer does not say."""
        date = next((value for name, value in headers.items() if name.lower() == "date"), "")
        try:
            return ms(parsedate_to_datetime(date))
        except (ValueError, OverflowError):
            return self._clock.now()

    async def _records(self, page: Any, since: int) -> AsyncIterator[Any]:
        """The messages of this page and the next ones, newest first, until a whole page is older."""
        for _ in range(_MAX_PAGES):
            records = messages_on(page)
            for record in records:
                yield record
            if not page.next_page_url or all(ms(record.date_created) < since for record in records):
                return
            page = await self._rest.ask(page.next_page_async())


def _content(message: Outbound) -> dict[str, object]:
    # One or the other: since April 2025 a template's text in Body fails outside the 24 hours.
    if message.template is None:
        return {"body": message.body}
    return {"content_sid": message.template.sid, "content_variables": message.template.variables}


def _likeness(body: str, ours: str) -> float:
    """1.0: the same text. Less: what Twilio may have made of ours. 0.0: another text."""
    body, ours = _comparable(body), _comparable(ours)
    if body == ours:
        return 1.0
    if not body:  # redacted
        return _LEAST_ALIKE
    theirs, words = _words(body), _words(ours)
    if not theirs and not words and _LINK.search(body) and _LINK.search(ours):
        return _LEAST_ALIKE  # a link alone, which may have been shortened
    alike = len(theirs & words) / max(len(theirs), len(words), 1)
    return alike * 0.99 if alike >= _LEAST_ALIKE else 0.0


def _words(text: str) -> set[str]:
    """Without what Twilio replaces: quotation marks, dashes, accents and ligatures that GSM-7 has not, links."""
    text = unicodedata.normalize("NFKD", _LINK.sub(" ", text).translate(_LIGATURES))
    plain = "".join(char for char in text if not unicodedata.combining(char))
    return set(re.findall(r"\w+", plain.casefold()))


def _comparable(body: str) -> str:
    """The text as we sent it: Twilio may trim its edges, and a trial account puts a sentence in front."""
    return body.removeprefix(_TRIAL_PREFIX).strip()
