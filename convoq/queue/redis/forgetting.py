"""Removes a whole queue from its server: every key of its prefix, and no other."""

from __future__ import annotations

from typing import Final

from redis.exceptions import RedisError

from convoq.queue.redis.connection import Server

PAGE: Final = 500  # keys


async def forget_queue(server: Server, prefix: str) -> None:
    """Raises DatabaseUnavailable; what is left of it then stays."""
    client = server.connect()
    try:
        cursor = -1
        while cursor != 0:
            cursor, keys = await client.scan(max(cursor, 0), match=f"{{{prefix}}}:*", count=PAGE)
            if keys:
                await client.unlink(*keys)
    except (RedisError, OSError) as error:
        raise server.unavailable(error) from error
    finally:
        await client.aclose()
