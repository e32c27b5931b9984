"""The one place that names the channels: what serve is called on, and what work sends through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Protocol

from convoq.channels import twilio
from convoq.channels.base import Channel, Webhook
from convoq.clock import Clock
from convoq.settings import Options


class ChannelPackage(Protocol):
    """What a package of this room offers."""

    def open_webhooks(self, options: Options) -> Sequence[Webhook]: ...

    async def open_channel(self, options: Options, clock: Clock) -> Channel: ...


PACKAGES: Final[tuple[ChannelPackage, ...]] = (twilio,)


def open_webhooks(options: Options) -> list[Webhook]:
    """Those of every channel. Raises ConfigError when a channel could never verify a request."""
    return [webhook for package in PACKAGES for webhook in package.open_webhooks(options)]


@asynccontextmanager
async def open_channels(options: Options, clock: Clock) -> AsyncIterator[Mapping[str, Channel]]:
    """Every channel by its name, until the end of the block. `clock` is the wall clock."""
    async with AsyncExitStack() as stack:
        channels: dict[str, Channel] = {}
        for package in PACKAGES:
            channel = await package.open_channel(options, clock)
            stack.push_async_callback(channel.close)
            channels[channel.name] = channel
        yield channels
