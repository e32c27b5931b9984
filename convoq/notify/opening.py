"""The targets that the settings name."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from convoq.channels.base import Channel
from convoq.conversations.notifications import PHONE_TARGET, NotifyTarget
from convoq.conversations.pacing import Pacing
from convoq.conversations.phones import Phones
from convoq.notify.base import Target
from convoq.notify.mail import MAIL, Mail
from convoq.notify.phone import Phone
from convoq.notify.webhook import WEBHOOK, Webhook
from convoq.settings.notify import NotifySettings


@asynccontextmanager
async def open_targets(settings: NotifySettings) -> AsyncIterator[Mapping[str, Target]]:
    """By name; none where nothing is set."""
    targets: list[Target] = []
    if settings.url is not None and settings.secret is not None:
        targets.append(Webhook(settings, settings.url, settings.secret))
    if settings.smtp_url is not None:
        targets.append(Mail(settings, settings.smtp_url))
    async with AsyncExitStack() as stack:
        for target in targets:
            stack.push_async_callback(target.close)
        yield {target.name: target for target in targets}


def named_targets(settings: NotifySettings) -> list[NotifyTarget]:
    """What the store is to know of them: no address, and no key."""
    where = {
        WEBHOOK: settings.url.get_secret_value() if settings.url else None,
        MAIL: f"{settings.smtp_url} {' '.join(settings.mail_to)}" if settings.smtp_url else None,
    }
    events = tuple(dict.fromkeys(settings.events))
    return [
        NotifyTarget(name, hashlib.sha256(address.encode()).hexdigest()[:16], events)
        for name, address in where.items()
        if address is not None and events
    ]


def target_finder(
    named: Mapping[str, Target], phones: Phones, channels: Mapping[str, Channel], pacing: Pacing
) -> Callable[[str], Target | None]:
    """Finds a target by its name: one of the settings', or an operator's phone, which comes and goes meanwhile."""

    def find(name: str) -> Target | None:
        if name.startswith(PHONE_TARGET):
            return Phone(name.removeprefix(PHONE_TARGET), phones, channels, pacing)
        return named.get(name)

    return find
