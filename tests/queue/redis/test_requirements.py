"""A server that would break what convoq promises is refused at the start, in one line that says what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from convoq.errors import DatabaseRefused, DatabaseUnavailable
from convoq.queue.redis.connection import Server
from convoq.queue.redis.requirements import Facts, check, problems, replicas
from convoq.settings import RedisSettings
from tests.servers.postgres import free_port
from tests.servers.redis import RedisServer, running_redis

PLAIN = RedisSettings()
GOOD = Facts("7.0.15", "master", "standalone", "noeviction", 0, 1_000_000, 0, None)


async def refused(server: RedisServer, line: str) -> None:
    with pytest.raises(DatabaseRefused, match=line):
        await check(server.server, PLAIN)


async def test_a_server_that_fsyncs_every_command_is_taken(redis_server: RedisServer) -> None:
    assert (await check(redis_server.server, PLAIN)).fsyncs_always


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"appendonly": "no"},
            "appendonly is no, so that a restart takes what was accepted: set it to yes, and appendfsync to always"
            " (or say redis.accept_loss = true, and messages may be lost)",
        ),
        (
            {"appendfsync": "everysec"},
            "appendfsync is everysec, so that a power cut takes what was accepted: set it to always"
            " (or say redis.accept_loss = true, and messages may be lost)",
        ),
        (
            {"no_appendfsync_on_rewrite": "yes"},
            "no-appendfsync-on-rewrite is yes, so that a power cut may take what was accepted: set it to no"
            " (or say redis.accept_loss = true, and messages may be lost)",
        ),
        (
            {"maxmemory_policy": "allkeys-lru"},
            "its maxmemory-policy is allkeys-lru, which throws jobs away once it is full: set it to noeviction",
        ),
        (
            {"cluster_enabled": "yes", "cluster_port": str(free_port())},
            "is part of a cluster, which convoq does not speak to: give it a server of its own",
        ),
        (
            {"rename_command": "CONFIG "},
            "does not say how durable it is (CONFIG GET): if its maker promises that nothing acknowledged is lost, say"
            ' redis.durability = "trusted"; else redis.accept_loss = true',
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_a_server_that_may_lose_what_was_accepted_is_refused(options: dict[str, str], line: str) -> None:
    with running_redis(**options) as server:
        await refused(server, "^" + re.escape(f"Redis at {server.socket}: {line}") + "$")


async def test_everything_that_is_wrong_is_in_the_line() -> None:
    with running_redis(maxmemory_policy="volatile-ttl", appendonly="no") as server:
        await refused(server, r"volatile-ttl.*; appendonly is no")


async def test_a_replica_is_refused() -> None:
    with running_redis() as server, running_redis(replicaof=f"127.0.0.1 {server.port}") as replica:
        await refused(replica, r"is a replica, which only reads: point redis\.url at the primary")


def test_a_server_that_is_too_old_is_refused() -> None:
    assert list(problems(GOOD)) == []
    assert list(problems(GOOD._replace(version="6.2.14"))) == [
        "is Redis 6.2.14: convoq needs 7.0 or newer, or a Valkey"
    ]


@pytest.mark.parametrize("settings", [RedisSettings(accept_loss=True), RedisSettings(durability="trusted")])
async def test_who_says_that_it_is_known_may_use_it(settings: RedisSettings) -> None:
    with running_redis(appendonly="no") as server:
        assert not (await check(server.server, settings)).fsyncs_always


# --- The login


async def test_a_wrong_password_is_refused_and_the_setting_named() -> None:
    with running_redis(requirepass="right") as server:
        for password in ("wrong", None):
            with pytest.raises(DatabaseRefused, match=r"redis\.password"):
                await check(Server(server.url, password=password), PLAIN)
        await check(Server(server.url, password="right"), PLAIN)


async def test_an_unknown_user_is_refused(redis_server: RedisServer) -> None:
    with pytest.raises(DatabaseRefused, match=r"set redis\.password \(and redis\.username\)"):
        await check(Server(redis_server.url, "nobody", "secret"), PLAIN)


async def test_a_server_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match=re.escape(f"Redis at {tmp_path}/none.sock: ")):
        await check(Server(f"unix://{tmp_path}/none.sock"), PLAIN)


def test_a_server_is_named_without_its_password() -> None:
    assert str(Server("rediss://cache.example:6380/2", "u", "secret")) == "Redis at cache.example:6380"
    assert "secret" not in str(Server("redis://h", "u", "secret"))


# --- Replicas


async def test_a_server_with_too_few_replicas_is_unavailable(redis_server: RedisServer) -> None:
    with pytest.raises(DatabaseUnavailable, match=r"redis\.replicas is 1, and 0 are connected"):
        await check(redis_server.server, RedisSettings(replicas=1))


async def test_with_replicas_a_log_that_is_fsynced_each_second_is_enough() -> None:
    with (
        running_redis(appendfsync="everysec", repl_diskless_sync_delay="0") as server,
        running_redis(replicaof=f"127.0.0.1 {server.port}") as replica,
    ):
        await replica.follows()
        await check(server.server, RedisSettings(replicas=1))


def test_replicas_have_it_on_their_disks_where_the_server_can_tell() -> None:
    settings = RedisSettings(replicas=2, replica_timeout=0.5)
    always = {"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no"}
    assert replicas(GOOD._replace(version="7.2.4", config=always), settings) == (2, 0.5, True)
    assert replicas(GOOD._replace(version="7.0.15", config=always), settings) == (2, 0.5, False)
    assert replicas(GOOD, PLAIN) is None
