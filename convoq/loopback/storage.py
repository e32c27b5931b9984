"""Where a trial keeps what it plays with: apart from every installation, also on a server that one of them uses."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from convoq.db.opening import own_schema
from convoq.errors import DatabaseUnavailable
from convoq.queue.opening import forget_redis
from convoq.settings import Options
from convoq.settings.schema import env_name

#: What names a real installation's store: none of it may be left over in a trial's environment.
OF_STORE: Final = (("database", "path"), ("database", "url"), ("database", "direct_url"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialServers:
    """The servers to play on; without one, in files."""

    database_url: str | None = None
    redis_url: str | None = None

    @property
    def overrides(self) -> dict[str, Any]:
        """As flags, for settings.load."""
        return {"database.url": self.database_url, "redis.url": self.redis_url}


def without_store(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without what names a store."""
    named = {env_name(path) for path in OF_STORE}
    return {name: value for name, value in environ.items() if name not in named}


@asynccontextmanager
async def own_storage(
    trial: str, options: Options, servers: TrialServers, database: Path, *, kept: bool = False
) -> AsyncIterator[dict[str, str]]:
    """The settings (named like "database.path") of a store and a queue that nothing else uses.

    On a server they are a schema and a prefix of their own, which are gone after the block. With a file that is `kept`
    so is its queue. Raises as open_store.
    """
    token = secrets.token_hex(4)
    settings = {"queue.engine": "database"}  # not the installation's
    async with AsyncExitStack() as stack:
        if servers.database_url is None:
            settings["database.path"] = str(database)
        else:
            url = await stack.enter_async_context(own_schema(options.database, f"convoq_{trial}_{token}"))
            # What the settings say leads to the installation's own schema.
            settings |= {"database.url": url, "database.direct_url": ""}
        if servers.redis_url is not None:
            if kept:
                token = hashlib.blake2b(str(database).encode(), digest_size=4).hexdigest()
            redis = options.redis.model_copy(update={"prefix": f"convoq-{trial}-{token}"})
            settings |= {"queue.engine": "redis", "redis.url": redis.url, "redis.prefix": redis.prefix}
            if not kept:
                stack.push_async_callback(_forget, redis)
        yield settings


async def _forget(redis: Any) -> None:
    with suppress(DatabaseUnavailable):  # a server that went away meanwhile keeps it
        await forget_redis(redis)
