"""The live feed: tells every open page, within a moment, what the page shows now."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from aiohttp import web

from convoq.db.store import Store
from convoq.errors import DatabaseUnavailable
from convoq.logs import log

PageState = dict[str, Any]

POLL_SECONDS: Final = 0.1  # between two looks at the database, while a page is open
PING_SECONDS: Final = 15.0  # without news, then a stream shows that it is alive
RECONNECT_MS: Final = 1000


class Feed:
    """Server-sent events with the whole state, each time that it has changed. Polls while a page is connected.

    `longest`: seconds until a stream ends and the browser comes back, let in anew; None: as long as the page is open.
    """

    def __init__(
        self, database: Store, look: Callable[[], Awaitable[PageState]], *, poll: float = POLL_SECONDS,
        longest: float | None = None, reconnect_ms: int = RECONNECT_MS,
    ) -> None:  # fmt: skip
        self._database = database
        self._look = look
        self._poll = poll
        self._longest = longest
        self._reconnect_ms = reconnect_ms
        self._run = secrets.token_hex(4)  # an id of an earlier run must not look like one of ours
        self._revision = 0
        self._state: PageState = {}
        self._nudged = asyncio.Event()
        self._news = asyncio.Event()
        self._closing = asyncio.Event()
        self._open = 0
        self._watching: asyncio.Task[None] | None = None

    def nudge(self) -> None:
        """Something changed that the database does not show."""
        self._nudged.set()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Serves one page until it goes or close() is called."""
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(f"retry: {self._reconnect_ms}\n\n".encode())
        self._enter()
        try:
            with suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(self._longest):
                    await self._send(response, request.headers.get("Last-Event-ID", ""))
        finally:
            self._open -= 1
        return response

    async def close(self) -> None:
        """Ends the streams: an open page must not keep the process."""
        self._closing.set()
        self._announce()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def _send(self, response: web.StreamResponse, seen: str) -> None:
        while not self._closing.is_set():
            news = self._news
            current = f"{self._run}-{self._revision}"
            if self._revision and seen != current:
                seen = current
                await response.write(f"id: {current}\nevent: state\ndata: {json.dumps(self._state)}\n\n".encode())
            try:
                async with asyncio.timeout(PING_SECONDS):
                    await news.wait()
            except TimeoutError:
                await response.write(b": ping\n\n")

    def _enter(self) -> None:
        self._open += 1
        self._nudged.set()
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        changes: object = None
        while self._open and not self._closing.is_set():
            try:
                latest = await self._database.changes()
                if latest != changes or self._nudged.is_set():
                    changes = latest
                    self._nudged.clear()
                    await self._refresh()
            except DatabaseUnavailable as error:
                log.warning("feed.failed", error=str(error))
            await asyncio.sleep(self._poll)

    async def _refresh(self) -> None:
        state = await self._look()
        if state != self._state:
            self._state = state
            self._revision += 1
            self._announce()

    def _announce(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
