"""An operator's own phone: one short text for each conversation that waits for a person."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final

from convoq.channels.base import Channel, Failure, Outbound, SendFailed
from convoq.conversations.notifications import PHONE_TARGET, Notification
from convoq.conversations.pacing import OperatorText, Pacing
from convoq.conversations.phones import CHANNEL, Phones
from convoq.notify.base import Taken, TargetFailed, TargetSkips
from convoq.notify.documents import summary
from convoq.settings.notify import NotifySettings

#: Without a customer's words and whole number, whatever the settings let a webhook have.
PLAIN: Final = NotifySettings()


class Phone:
    """Says nothing where the channel or its owner does not want it, and at most so much an hour."""

    wants_texts = False

    def __init__(self, operator: str, phones: Phones, channels: Mapping[str, Channel], pacing: Pacing) -> None:
        self.name = f"{PHONE_TARGET}{operator}"
        self.where = f"the phone of {operator}"
        self._operator = operator
        self._phones = phones
        self._channels = channels
        self._pacing = pacing

    async def send(self, notification: Notification) -> Taken:
        conversation = notification.conversation
        if conversation is None or conversation.owner != "waiting":
            raise TargetSkips("nobody is awaited there any more")
        way = await self._phones.way_to(self._operator, conversation.our_address)
        if isinstance(way, str):
            raise TargetSkips(way)
        text = f"{summary(notification, PLAIN)}. To answer from here: #{conversation.id} and your text. /help"
        message = Outbound(reference=secrets.token_hex(8), our_address=way.our_address, address=way.address, body=text)
        await self._pacing.wait(OperatorText(CHANNEL, way.our_address, text))
        try:
            sent = await self._channels[CHANNEL].send(message)
        except SendFailed as error:
            if error.failure in (Failure.PERMANENT, Failure.OPTED_OUT, Failure.AMBIGUOUS):
                raise TargetSkips(f"it was not sent, or twice if it were tried again: {error}") from error
            raise TargetFailed(str(error), retry_after=error.delay) from error
        return Taken(sent.provider_id)

    async def close(self) -> None: ...
