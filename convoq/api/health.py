"""Says whether this process is alive, and whether it may be sent webhooks."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from aiohttp import web

from convoq.db.store import Store
from convoq.errors import DatabaseRefused, DatabaseUnavailable
from convoq.logs import log

CHECK_TIMEOUT: Final = 2.0
REASONS_TTL: Final = 1.0  # /readyz is open to any client: the database is looked at once a second at most

NO_ROOM: Final = "the disk is nearly full"
REFUSED: Final = "the database file must not be used; the log says why"
UNAVAILABLE: Final = "the database cannot be written just now; the log says why"
QUEUE_UNAVAILABLE: Final = "the queue takes no jobs just now; the log says why"


class Readiness(Protocol):
    """The storage behind the webhook, as far as it decides what may be accepted."""

    def accepts(self) -> bool:
        """False while a webhook must not be accepted, e.g. below the free-space watermark. Cheap: asked per webhook."""
        ...

    async def reasons(self) -> list[str]:
        """Why webhooks can't be accepted just now, in plain words without internals; empty when they can."""
        ...


class StorageReadiness:
    """Ready while the disk has room, the file that was opened is in its place and can be written, and the queue takes
    jobs.

    `check_queue` raises DatabaseUnavailable where it does not. The reasons name no path: /readyz may be public.
    """

    def __init__(self, database: Store, check_queue: Callable[[], Awaitable[None]]) -> None:
        self._database = database
        self._check_queue = check_queue

    def accepts(self) -> bool:
        return self._database.accepts()

    async def reasons(self) -> list[str]:
        reasons = [] if self._database.accepts() else [NO_ROOM]
        try:
            await self._database.check()
            await self._database.write(lambda _: None, durable=False)
        except DatabaseRefused as error:
            log.warning("storage.refused", reason=str(error))
            reasons.append(REFUSED)
        except DatabaseUnavailable as error:
            log.warning("storage.unavailable", reason=str(error))
            reasons.append(UNAVAILABLE)
        try:
            await self._check_queue()
        except DatabaseUnavailable as error:
            log.warning("storage.unavailable", reason=str(error))
            reasons.append(QUEUE_UNAVAILABLE)
        return reasons


class HealthChecks:
    """GET /healthz and /readyz. They always answer, within a few seconds."""

    def __init__(self, readiness: Readiness, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._readiness = readiness
        self._clock = clock
        self._checking = asyncio.Lock()
        self._reasons: list[str] = []
        self._checked_at: float | None = None

    async def alive(self, _request: web.Request) -> web.Response:
        return _json_response(200, {"status": "ok"})

    async def ready(self, _request: web.Request) -> web.Response:
        reasons = await self._current_reasons()
        return _json_response(503 if reasons else 200, {"status": "unready" if reasons else "ok", "reasons": reasons})

    async def _current_reasons(self) -> list[str]:
        async with self._checking:
            if self._checked_at is None or self._clock() - self._checked_at >= REASONS_TTL:
                self._reasons = await self._check()
                self._checked_at = self._clock()
            return self._reasons

    async def _check(self) -> list[str]:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                return await self._readiness.reasons()
        except TimeoutError:
            return [f"the storage did not answer within {CHECK_TIMEOUT:g} s"]
        except Exception:
            log.exception("readiness.failed")
            return ["the storage could not be checked; the log says why"]


def _json_response(status: int, content: dict[str, object]) -> web.Response:
    return web.Response(
        status=status,
        body=json.dumps(content).encode(),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
