"""What changes while somebody looks: one look at the database for all who do, and none while nobody does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic
from typing import Any, Final

from convoq.conversations.changes import Changes, Place, read_changes
from convoq.db.store import Store
from convoq.errors import DatabaseUnavailable
from convoq.logs import log
from convoq.monitoring.snapshot import AlertLimits
from convoq.operating.overview import read_state
from convoq.queue.base import JobAdmin, JobFilter, JobState
from convoq.settings import Options

NEWEST_DEAD: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveTimings:
    """Seconds."""

    poll: float = 0.25  #: between two looks whether anything was committed
    state: float = 2.0  #: between two looks at the whole, which is the dearest
    blind: float = 5.0  #: then it is looked at all the same: a queue elsewhere, and silence, show in no commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """The whole at one moment, in what does not change by itself from one second to the next."""

    now: Mapping[str, Any]
    processes: tuple[tuple[str, str, int, bool], ...]  #: role, host, pid, whether it is gone
    dead: frozenset[str]  #: the newest dead letters

    @property
    def digest(self) -> str:
        text = json.dumps([self.now, self.processes, sorted(self.dead)], sort_keys=True)
        return sha256(text.encode()).hexdigest()[:12]


class Live:
    """Wakes all who wait when something may have changed."""

    def __init__(self, database: Store, jobs: JobAdmin, options: Options, timings: LiveTimings | None = None) -> None:
        self._database = database
        self._jobs = jobs
        self._options = options
        self._timings = timings or LiveTimings()
        self._revision = 0
        self._news = asyncio.Event()
        self._lookers = 0
        self._watching: asyncio.Task[None] | None = None
        self.is_closing = False
        self.whole: Whole | None = None  #: once somebody has looked

    @property
    def revision(self) -> int:
        return self._revision

    async def wait(self, seen: int, timeout: float) -> int:
        """Returns with another revision than `seen`, or the same after so many seconds."""
        self._lookers += 1
        try:
            if self._watching is None or self._watching.done():
                self._watching = asyncio.create_task(self._watch())
            if self._revision == seen and not self.is_closing:
                async with asyncio.timeout(timeout):
                    await self._news.wait()
        except TimeoutError:
            pass
        finally:
            self._lookers -= 1
        return self._revision

    async def close(self) -> None:
        """Nobody waits any more."""
        self.is_closing = True
        self._announce()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def look(self, place: Place) -> tuple[Changes, Whole]:
        """What is new since then, and the whole as it was looked at last."""
        if self.whole is None:
            self.whole = await look_at_whole(self._database, self._jobs, self._options)
        return await self._database.read(read_changes, place), self.whole

    async def _watch(self) -> None:
        """Ends when nobody has waited for a moment: who comes back within it finds it at work."""
        changes: object = None
        refreshed, is_stale = 0.0, True
        idle_since: float | None = None
        while idle_since is None or monotonic() - idle_since < self._timings.blind:
            idle_since = None if self._lookers else idle_since or monotonic()
            try:
                if (latest := await self._database.changes()) != changes:
                    changes, is_stale = latest, True
                    self._announce()
                age = monotonic() - refreshed
                if age >= (self._timings.state if is_stale else self._timings.blind):
                    refreshed, is_stale = monotonic(), False
                    await self._refresh()
            except DatabaseUnavailable as error:
                log.warning("live.failed", error=str(error))
            await asyncio.sleep(self._timings.poll)

    async def _refresh(self) -> None:
        before, self.whole = self.whole, await look_at_whole(self._database, self._jobs, self._options)
        if before is None or before.digest != self.whole.digest:
            self._announce()

    def _announce(self) -> None:
        self._revision += 1
        self._news.set()
        self._news = asyncio.Event()


async def look_at_whole(database: Store, jobs: JobAdmin, options: Options) -> Whole:
    snapshot, alerts = await read_state(database, jobs, options, AlertLimits())
    dead = await jobs.list(JobFilter(states=(JobState.DEAD,)), limit=NEWEST_DEAD)
    return Whole(
        now={
            "ok": not alerts,
            "problems": len(alerts),
            "waiting_messages": snapshot.waiting,
            "waiting_for_a_person": snapshot.overview.owners.get("waiting", 0),
            "dead_letters": snapshot.dead,
        },
        processes=tuple(sorted((one.role, one.host, one.pid, one.gone) for one in snapshot.processes)),
        dead=frozenset(job.id for job in dead),
    )
