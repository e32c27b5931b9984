"""What a server must be to keep convoq's promises: asked at each start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import redis.asyncio
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from convoq.errors import DatabaseRefused, DatabaseUnavailable
from convoq.queue.redis.connection import Server
from convoq.queue.redis.enqueue import Replicas
from convoq.settings import RedisSettings

OLDEST: Final = (7, 0)
FULL: Final = 0.9  # of maxmemory
CERTIFICATE: Final = "certificate verify failed"  # OpenSSL's words
WAITAOF_SINCE: Final = (7, 2)
CONFIG: Final = ("appendonly", "appendfsync", "no-appendfsync-on-rewrite")


class Facts(NamedTuple):
    """What a server says of itself."""

    version: str  #: Redis's own, or the one that its relatives say they are compatible with
    role: str
    mode: str
    policy: str  #: when its memory is full
    replicas: int  #: that are connected
    used: int  #: bytes of memory
    maxmemory: int  #: 0: without a bound
    config: Mapping[str, str] | None  #: None where it does not tell

    @property
    def number(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.version.split(".")[:2] if part.isdigit())

    @property
    def is_appending(self) -> bool:
        return self.config is not None and self.config["appendonly"] == "yes"

    @property
    def is_nearly_full(self) -> bool:
        return 0 < self.maxmemory * FULL < self.used

    @property
    def fsyncs_always(self) -> bool:
        config = self.config
        return (
            config is not None
            and (config["appendonly"], config["appendfsync"]) == ("yes", "always")
            and config["no-appendfsync-on-rewrite"] == "no"
        )


async def ask(server: Server) -> Facts:
    """Raises DatabaseRefused where the login is, DatabaseUnavailable where nothing answers."""
    client = server.connect()
    try:
        return await _ask(client)
    except (RedisError, OSError) as error:
        # What greets a new connection is wrapped in a ConnectionError.
        for refusal in (error, error.__cause__):
            if isinstance(refusal, (AuthenticationError, NoPermissionError)):
                said = " ".join(str(refusal).split()).rstrip(".")
                raise DatabaseRefused(f"{server}: {said}: set redis.password (and redis.username)") from error
        if CERTIFICATE in str(error):
            said = " ".join(str(error).split()).rstrip(".")
            remedy = "set redis.ca_file to who vouches for it, or redis.url to the name in its certificate"
            raise DatabaseRefused(f"{server}: {said}: {remedy}") from error
        raise server.unavailable(error) from error
    finally:
        await client.aclose()


async def _ask(client: redis.asyncio.Redis) -> Facts:
    info: dict[str, Any] = await client.info()
    try:
        config: dict[Any, Any] = await client.config_get(*CONFIG)
    except ResponseError:  # a service that does not let its customers look
        config = {}
    return Facts(
        version=str(info["redis_version"]),
        role=str(info["role"]),
        mode=str(info.get("redis_mode", "standalone")),
        policy=str(info.get("maxmemory_policy", "")),
        replicas=int(info.get("connected_slaves", 0)),
        used=int(info["used_memory"]),
        maxmemory=int(info.get("maxmemory", 0)),
        config={_text(name): _text(value) for name, value in config.items()} if len(config) == len(CONFIG) else None,
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


async def check(server: Server, settings: RedisSettings) -> Facts:
    """Raises DatabaseRefused with everything that is wrong with the server, in one line."""
    facts = await ask(server)
    if found := [*problems(facts), *losses(facts, settings)]:
        raise DatabaseRefused(f"{server}: {'; '.join(found)}")
    if facts.replicas < settings.replicas:
        raise DatabaseUnavailable(
            f"{server}: redis.replicas is {settings.replicas}, and {facts.replicas} are connected"
        )
    return facts


def problems(facts: Facts) -> Iterator[str]:
    if facts.number < OLDEST:
        yield f"is Redis {facts.version}: convoq needs 7.0 or newer, or a Valkey"
    if facts.role != "master":
        yield "is a replica, which only reads: point redis.url at the primary"
    if facts.mode == "cluster":
        yield "is part of a cluster, which convoq does not speak to: give it a server of its own"
    if facts.policy != "noeviction":
        policy = facts.policy or "unknown"
        yield f"its maxmemory-policy is {policy}, which throws jobs away once it is full: set it to noeviction"


def losses(facts: Facts, settings: RedisSettings) -> Iterator[str]:
    """Why what was accepted may be lost, unless the settings say that this is known."""
    if settings.accept_loss or settings.durability == "trusted" or facts.fsyncs_always:
        return
    if facts.config is None:
        yield (
            "does not say how durable it is (CONFIG GET): if its maker promises that nothing acknowledged is lost, say "
            'redis.durability = "trusted"; else redis.accept_loss = true'
        )
    elif settings.replicas == 0 or not facts.is_appending:
        yield f"{_first_loss(facts.config)} (or say redis.accept_loss = true, and messages may be lost)"


def _first_loss(config: Mapping[str, str]) -> str:
    if config["appendonly"] != "yes":
        return "appendonly is no, so that a restart takes what was accepted: set it to yes, and appendfsync to always"
    if config["appendfsync"] != "always":
        return f"appendfsync is {config['appendfsync']}, so that a power cut takes what was accepted: set it to always"
    return "no-appendfsync-on-rewrite is yes, so that a power cut may take what was accepted: set it to no"


def replicas(facts: Facts, settings: RedisSettings) -> Replicas | None:
    """What each enqueue waits for."""
    if settings.replicas == 0:
        return None
    fsynced = facts.number >= WAITAOF_SINCE and facts.is_appending
    return Replicas(settings.replicas, settings.replica_timeout, fsynced)
