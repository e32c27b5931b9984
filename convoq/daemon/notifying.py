"""The worker tells people what calls for them, where the settings name anybody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from convoq.clock import WallClock
from convoq.conversations.notifications import Notifications
from convoq.daemon.process import Storage
from convoq.handlers.notifying import NotificationWatch
from convoq.handlers.tasks import ended
from convoq.notify.opening import named_targets
from convoq.settings.notify import NotifySettings


@asynccontextmanager
async def watching_notifications(settings: NotifySettings, storage: Storage) -> AsyncIterator[None]:
    """Inside, what arises is enqueued for the targets of the settings, and for the phones of operators."""
    notifications = Notifications(storage.database, WallClock())
    await notifications.set_targets(named_targets(settings))
    watch = NotificationWatch(notifications, storage.follow_ups)
    await watch.look()
    looking = asyncio.create_task(watch.run())
    try:
        yield
    finally:
        looking.cancel()
        await ended(looking)
