"""The doctor looks at a queue that has a server of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convoq.monitoring.findings import Finding, ok, warn
from convoq.text import size

if TYPE_CHECKING:
    from convoq.queue.redis.requirements import Facts
    from convoq.settings import Options, RedisSettings


async def examine(options: Options) -> list[Finding]:
    """Nothing where it is in the database. Raises ConvoqError where the server can't be used."""
    if options.queue.engine != "redis":
        return []
    from convoq.queue.redis.opening import server_of
    from convoq.queue.redis.requirements import check

    server = server_of(options.redis)
    facts = await check(server, options.redis)
    return [_durability(f"{server} ({facts.version})", facts, options.redis), _memory(facts)]


def _durability(name: str, facts: Facts, settings: RedisSettings) -> Finding:
    if facts.fsyncs_always:
        return ok("queue", f"{name} fsyncs what it accepts")
    if settings.accept_loss:
        fix = "set appendonly to yes and appendfsync to always, and take redis.accept_loss away"
        return warn("queue", f"{name} may lose accepted messages at a restart or a power cut", fix)
    if settings.replicas:
        return ok("queue", f"{name} has {facts.replicas} replicas, of which an enqueue waits for {settings.replicas}")
    return ok("queue", f'{name}: redis.durability is "trusted"')


def _memory(facts: Facts) -> Finding:
    if not facts.maxmemory:
        fix = "set maxmemory below what the machine has: a full server says so, a killed one does not"
        return warn("queue memory", f"{size(facts.used)}, without a bound", fix)
    if facts.is_nearly_full:
        fix = "raise maxmemory, or lower queue.retention"
        return warn("queue memory", f"{size(facts.used)} of {size(facts.maxmemory)}: nearly full", fix)
    return ok("queue memory", f"{size(facts.used)} of {size(facts.maxmemory)}")
