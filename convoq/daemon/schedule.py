"""The scheduler as a role: its entries, its progress, and the queue that it enqueues into."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from convoq.clock import WallClock
from convoq.daemon.process import open_storage
from convoq.daemon.reload import Reload
from convoq.daemon.supervision import Stop, supervised
from convoq.db.store import Store
from convoq.errors import DatabaseUnavailable
from convoq.jobs import CatchUp
from convoq.logs import log
from convoq.queue.service import QueueService
from convoq.scheduler.entries import ScheduleEntry, built_in, entries_from
from convoq.scheduler.progress import SqlProgress
from convoq.scheduler.scheduler import Scheduler
from convoq.settings import Options
from convoq.settings.load import Loaded


async def schedule(loaded: Loaded, stop: Stop, reload: Reload) -> None:
    """Turns time into jobs, until the stop is requested."""
    async with open_storage(loaded.options) as (database, queue, *_):
        scheduler = build_scheduler(loaded.options, database, queue)

        async def prepare(new: Loaded) -> Callable[[], Awaitable[None]]:
            return partial(_replace, scheduler, entries_from(new.options.schedules))

        reload.prepare = prepare
        async with supervised(
            database, "schedule", stop, lambda: "scheduling", reload=reload, config=loaded.config_path
        ):
            await _catch_up_at_start(loaded.options, queue)
            await scheduler.run(stop.requested)


async def _catch_up_at_start(options: Options, queue: QueueService) -> None:
    """What nothing listened for is looked for now, not with the next slot. A look that waits already is joined."""
    if not options.twilio.catch_up:
        return
    [entry] = (entry for entry in built_in() if entry.kind == CatchUp.kind)
    try:
        await queue.enqueue(entry.job_now())
    except DatabaseUnavailable as error:  # the slots come all the same
        log.warning("catch_up.not_enqueued", error=str(error))


async def _replace(scheduler: Scheduler, entries: tuple[ScheduleEntry, ...]) -> None:
    scheduler.replace(entries)


def build_scheduler(options: Options, database: Store, queue: QueueService) -> Scheduler:
    return Scheduler(
        queue,
        entries_from(options.schedules),
        SqlProgress(database),
        queue_clock=database.clock,
        wall_clock=WallClock(),
    )
