"""Has a Redis server leave nothing in its files of what was deleted: they are logs and copies of what it once held."""

from __future__ import annotations

import asyncio
from typing import Final

from redis.exceptions import RedisError, ResponseError

from convoq.errors import DatabaseUnavailable
from convoq.queue.redis.connection import Scripts

LOOK: Final = 0.05  # seconds
LONGEST: Final = 60.0  # seconds; a server of many gigabytes ends it by itself
BUSY: Final = ("aof_rewrite_in_progress", "aof_rewrite_scheduled", "rdb_bgsave_in_progress")


async def rewrite_files(scripts: Scripts) -> str | None:
    """Its log, and its snapshot; else why not, for people. Returns when they are written."""
    try:
        async with asyncio.timeout(LONGEST):
            for command in ("BGREWRITEAOF", "BGSAVE"):
                await _begin(scripts, command)
                await _until_idle(scripts)
    except (RedisError, DatabaseUnavailable) as error:
        return f"Redis does not write its files anew (BGREWRITEAOF, BGSAVE): {error}"
    except TimeoutError:
        return f"Redis has not written its files anew after {LONGEST:g} s"
    return None


async def _begin(scripts: Scripts, command: str) -> None:
    """One that was going on already may have begun too early."""
    while True:
        await _until_idle(scripts)
        try:
            await scripts.command(command)
        except ResponseError as error:
            if "in progress" not in str(error):
                raise
        else:
            return


async def _until_idle(scripts: Scripts) -> None:
    while await _is_busy(scripts):  # noqa: ASYNC110 # Redis tells it by INFO alone
        await asyncio.sleep(LOOK)


async def _is_busy(scripts: Scripts) -> bool:
    state = await scripts.command("INFO", "persistence")
    return any(state.get(one) for one in BUSY)
