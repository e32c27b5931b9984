"""Waits on states that announce nothing: another process's, a file's, a row's, a log's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable

import aiohttp


async def until(holds: Callable[[], bool | Awaitable[bool]], *, timeout: float, pause: float = 0.02) -> None:
    """Returns once it holds, looked at every `pause` seconds. Raises TimeoutError after `timeout` seconds."""
    async with asyncio.timeout(timeout):
        while not (await answer if isawaitable(answer := holds()) else answer):  # noqa: ASYNC110 # there is no event
            await asyncio.sleep(pause)


async def answers(session: aiohttp.ClientSession, url: str) -> bool:
    """Whether something listens there and answers 200."""
    try:
        async with session.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False
