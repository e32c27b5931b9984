"""WhatsApp and SMS through Twilio; the only room that imports its library."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convoq.channels.base import Channel, Webhook
    from convoq.clock import Clock
    from convoq.settings import Options

# Each imports its side alone: the webhook server never loads what sends.


def open_webhooks(options: Options) -> Sequence[Webhook]:
    """What Twilio calls. Raises ConfigError when no request could ever be verified."""
    from convoq.channels.twilio.webhooks import webhooks

    return webhooks(options.twilio, options.server.public_url or "")


async def open_channel(options: Options, clock: Clock) -> Channel:
    """What sends through Twilio; the caller closes it."""
    from convoq.channels.twilio.channel import TwilioChannel

    rate_of = {number.address: number.rate for number in options.numbers if number.rate is not None}
    return await TwilioChannel.create(
        options.twilio, public_url=options.server.public_url, clock=clock, rate_of=rate_of
    )
