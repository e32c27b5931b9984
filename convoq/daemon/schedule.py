"""The scheduler as a role: its entries, its progress, and the queue that it enqueues into."""

from __future__ import annotations

from convoq.clock import WallClock
from convoq.daemon.process import open_storage
from convoq.daemon.supervision import Stop, supervised
from convoq.db import Database
from convoq.queue.service import QueueService
from convoq.settings import Options
from convoq.settings.load import Loaded


async def schedule(loaded: Loaded, stop: Stop) -> None:
    """Turns time into jobs, until the stop is requested."""
    async with (
        open_storage(loaded.options) as (database, queue, _),
        supervised(database, "schedule", stop, lambda: "scheduling", config=loaded.config_path),
    ):
        await run_scheduler(loaded.options, database, queue, stop)


async def run_scheduler(options: Options, database: Database, queue: QueueService, stop: Stop) -> None:
    from convoq.scheduler.entries import entries_from
    from convoq.scheduler.progress import SqlProgress
    from convoq.scheduler.scheduler import Scheduler

    scheduler = Scheduler(
        queue,
        entries_from(options.schedules),
        SqlProgress(database),
        queue_clock=database.clock,
        wall_clock=WallClock(),
    )
    await scheduler.run(stop.requested)
