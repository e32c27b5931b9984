"""Twilio's list of messages: what was written to us, and what was sent, whatever program was told of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

from convoq.channels.base import Failure, Listed, SendFailed
from convoq.channels.twilio.inbound import CHANNEL
from convoq.channels.twilio.rest import TwilioRest, error_text
from convoq.channels.twilio.webhooks import inbound_job
from convoq.jobs import NewJob, ReceiveMessage

_PAGE_SIZE: Final = 1000  # the most that Twilio takes
_MOST_PAGES: Final = 1000
_MOST_MEDIA: Final = 10  # of one message


class MessageLists:
    """Reads them page by page; a page that Twilio repeats while messages come in yields none of them twice."""

    def __init__(self, rest: TwilioRest, api_base_url: str) -> None:
        self._rest = rest
        self._api_base_url = api_base_url.rstrip("/")

    async def received(self, our_address: str, since: int) -> AsyncIterator[Listed]:
        async for record in self._records(since, to=our_address):
            if record.direction == "inbound" and record.from_:
                yield Listed(record.sid, record.from_, ms(record.date_created), _form(record))

    async def sent(self, our_address: str, address: str, since: int) -> list[Listed]:
        return [
            Listed(record.sid, address, ms(record.date_created))
            async for record in self._records(since, to=address, from_=our_address)
            if record.direction == "outbound-api"  # not what Twilio or a fallback URL says by itself
        ]

    async def receive(self, listed: Listed, *, answered: bool) -> NewJob:
        form = dict(listed.form)
        form |= await self._media(listed.provider_id) if form["NumMedia"] != "0" else {}
        payload = ReceiveMessage(channel=CHANNEL, form=tuple(form.items()), written_at=listed.at, answered=answered)
        return inbound_job(payload, form)

    async def _media(self, sid: str) -> dict[str, str]:
        media = await self._rest.ask(self._rest.client.messages(sid).media.list_async(limit=_MOST_MEDIA))
        form = {}
        for index, medium in enumerate(media):
            form[f"MediaContentType{index}"] = medium.content_type
            form[f"MediaUrl{index}"] = f"{self._api_base_url}{medium.uri.removesuffix('.json')}"
        return form

    async def _records(self, since: int, **addresses: str) -> AsyncIterator[Any]:
        """Newest first, until a whole page is older than that."""
        query = {**addresses, "date_sent_after": datetime.fromtimestamp(since / 1000, UTC), "page_size": _PAGE_SIZE}
        page = await self._rest.ask(self._rest.client.messages.page_async(**query))
        seen: set[str] = set()
        for _ in range(_MOST_PAGES):
            records = messages_on(page)
            for record in records:
                if record.sid not in seen and ms(record.date_created) >= since:
                    yield record
            seen.update(record.sid for record in records)
            if not page.next_page_url or all(ms(record.date_created) < since for record in records):
                return
            page = await self._rest.ask(page.next_page_async())


def _form(record: Any) -> tuple[tuple[str, str], ...]:
    return (
        *((name, record.sid) for name in ("SmsMessageSid", "SmsSid", "MessageSid")),
        ("AccountSid", record.account_sid),
        ("SmsStatus", "received"),
        ("From", record.from_),
        ("To", record.to),
        ("Body", record.body or ""),
        ("NumSegments", str(record.num_segments or 1)),
        ("NumMedia", str(record.num_media or 0)),
    )


def messages_on(page: Any) -> list[Any]:
    """A page's messages. Raises SendFailed when it is not a list of messages."""
    try:
        records = list(page)
        if all(isinstance(record.date_created, datetime) for record in records):
            return records
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise SendFailed(Failure.AMBIGUOUS, f"Twilio's list could not be read: {error_text(error)}") from error
    raise SendFailed(Failure.AMBIGUOUS, "Twilio's list could not be read: a message without a date")


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
