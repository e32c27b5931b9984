"""The entries of the schedule: which there are, when they run next, and a run by hand."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from convoq.clock import Clock, WallClock
from convoq.db.store import Store
from convoq.errors import ConvoqError, DatabaseUnavailable
from convoq.monitoring.pauses import Pause
from convoq.queue.base import Enqueued, Enqueuer, JobAdmin, JobFilter
from convoq.scheduler.entries import ScheduleEntry, next_runs


def find_entry(name: str, entries: Sequence[ScheduleEntry]) -> ScheduleEntry:
    """Raises ConvoqError with the name that was probably meant."""
    found = {entry.name: entry for entry in entries}
    if name in found:
        return found[name]
    meant = difflib.get_close_matches(name, found, n=1)
    hint = f"did you mean {meant[0]!r}?" if meant else "convoq schedules list"
    raise ConvoqError(f"there is no schedule {name!r}: {hint}")


def coming_runs(entry: ScheduleEntry, count: int, clock: Clock, pauses: Mapping[str, Pause]) -> list[datetime]:
    """None while it is paused."""
    return [] if entry.name in pauses else next_runs(entry, count, queue_clock=clock, wall_clock=WallClock())


async def run_once(
    entry: ScheduleEntry, database: Store, enqueuer: Enqueuer, jobs: JobAdmin, *, key: str | None = None
) -> Enqueued:
    """One run, due now: where one waits already, it is that one. `key` makes repeating it harmless.

    Raises DatabaseUnavailable.
    """
    if not database.accepts():
        raise DatabaseUnavailable("the disk is nearly full: free some space first")
    enqueued = await enqueuer.enqueue(replace(entry.job_now(), dedup_key=key))
    if enqueued.joined:
        await jobs.run_now(JobFilter(ids=(enqueued.job_id,)))
    return enqueued
