"""That a token or a session was used: written now and then, and beside the request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from convoq.errors import ConvoqError

NOTED_EVERY: Final = 60.0  # seconds: reading is to cost no write


class Uses:
    """Each is written once in NOTED_EVERY at most; a database that does not take it loses no request for it."""

    def __init__(self, write: Callable[[int], Awaitable[None]], clock: Callable[[], float]) -> None:
        self._write = write
        self._clock = clock
        self._noted: dict[int, float] = {}
        self._noting: set[asyncio.Task[None]] = set()

    def note(self, used: int) -> None:
        """Beside the request, which a writer that waits must not hold up."""
        now = self._clock()
        if now - self._noted.get(used, -NOTED_EVERY) < NOTED_EVERY:
            return
        self._noted[used] = now
        noting = asyncio.create_task(self._write_down(used))
        self._noting.add(noting)
        noting.add_done_callback(self._noting.discard)

    async def close(self) -> None:
        """What was noted is written."""
        await asyncio.gather(*self._noting, return_exceptions=True)

    async def _write_down(self, used: int) -> None:
        with suppress(ConvoqError):
            await self._write(used)
