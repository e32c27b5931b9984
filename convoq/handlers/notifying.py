"""send_notifications: one target is told what waits for it, in order; and the look that wakes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from convoq.conversations.notifications import Notification, Notifications
from convoq.errors import DatabaseUnavailable, RetryLater, Snooze, Unrecoverable
from convoq.handlers.base import ClaimContext, Handler
from convoq.jobs import SendNotifications, notification_job
from convoq.logs import log
from convoq.notify.base import Target, TargetFailed, TargetSkips
from convoq.queue.following import BeginFollowUps

if TYPE_CHECKING:
    from convoq.db.transaction import Transaction

LOOK_INTERVAL: Final = 1.0  #: seconds
SHORTEST_PAUSE, LONGEST_PAUSE = 5.0, 600.0  #: seconds between two tries
MOST_TRIES: Final = 30  #: about four hours
MOST_REFUSALS: Final = 8  #: of a target that answers, and does not want it: ten minutes
STOPPED_PAUSE: Final = 0.1  #: seconds


def send_notifications(notifications: Notifications, find: Callable[[str], Target | None]) -> Handler:
    """The handler: each is tried until it is taken, and what is not is a dead letter that holds up no other."""

    async def handler(context: ClaimContext) -> None:
        [job] = context.claim.jobs
        target = find(SendNotifications.model_validate_json(job.payload).target)
        if target is None:
            return  # the settings name it no more
        while (found := await notifications.next(target.name, texts=target.wants_texts)) is not None:
            if context.stopping:
                raise Snooze(STOPPED_PAUSE, "the worker stops: what waits is the next one's")
            context.renew_deadline()
            if not await _tell(notifications, target, found, job.id):
                return

    return handler


async def _tell(notifications: Notifications, target: Target, found: Notification, job_id: str) -> bool:
    """False: it is told nothing any more. Raises RetryLater, Unrecoverable."""
    try:
        await target.send(found)
    except TargetSkips as skipped:
        await notifications.drop(found)
        log.info("notify.skipped", target=target.name, about=found.event, reason=str(skipped))
        return True
    except TargetFailed as error:
        if error.is_gone:
            await notifications.switch_off(target.name, str(error))
            log.warning("notify.switched_off", target=target.name, error=str(error))
            return False
        raise await _failed(notifications, target, found, error, job_id) from error
    await notifications.mark_sent(found, target.name)
    log.info("notify.sent", target=target.name, notification=found.message_id, about=found.event)
    return True


async def _failed(
    notifications: Notifications, target: Target, found: Notification, error: TargetFailed, job_id: str
) -> RetryLater | Unrecoverable:
    tries = found.tries + 1
    is_last = tries >= (MOST_REFUSALS if error.is_refusal else MOST_TRIES)
    await notifications.mark_failed(found, target.name, str(error), job_id if is_last else None)
    if is_last:
        return Unrecoverable(f"{found.event}: tried {tries} times: {error}")
    pause = min(SHORTEST_PAUSE * 2.0 ** (tries - 1), LONGEST_PAUSE)
    return RetryLater(pause if error.retry_after is None else error.retry_after, str(error))


class NotificationWatch:
    """Looks for what is to be told, so that no transaction in which it arises has to wake anything."""

    def __init__(self, notifications: Notifications, begin: BeginFollowUps) -> None:
        self._notifications = notifications
        self._begin = begin

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self.look()
            except DatabaseUnavailable as error:
                log.warning("notify.unseen", error=str(error))
            except Exception:  # a bug in what tells of faults must not end the worker, which answers people
                log.error("notify.unseen", exc_info=True)
            await asyncio.sleep(LOOK_INTERVAL)

    async def look(self) -> int:
        """Once; how many targets were woken. A kill before the queue has it costs a minute, and nothing else."""
        if not await self._notifications.is_due():
            return 0
        follow_ups = self._begin()

        def wake(tx: Transaction, targets: Sequence[str]) -> None:
            for target in targets:
                follow_ups.enqueue(tx, notification_job(target))

        woken = await self._notifications.step(wake)
        await follow_ups.send()
        return woken
