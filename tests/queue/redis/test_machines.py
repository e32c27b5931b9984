"""With the conversations in a file, all workers are where the file is."""

from __future__ import annotations

import pytest

from convoq.errors import DatabaseRefused
from tests.queue.redis.conftest import OpenQueueOn
from tests.servers.redis import RedisServer


async def test_a_worker_on_another_machine_than_those_that_run_is_refused(
    redis_server: RedisServer, open_on: OpenQueueOn
) -> None:
    await (await open_on(redis_server.server, machine="here")).register("w1")
    await (await open_on(redis_server.server, machine="here")).register("w2")
    with pytest.raises(DatabaseRefused, match=r"worker w. runs on another machine.*redis\.prefix of its own"):
        await (await open_on(redis_server.server, machine="there")).register("w3")


async def test_where_the_conversations_are_on_a_server_workers_may_be_anywhere(
    redis_server: RedisServer, open_on: OpenQueueOn
) -> None:
    for number in range(3):
        await (await open_on(redis_server.server)).register(f"w{number}")


async def test_workers_that_have_ended_keep_none_away(redis_server: RedisServer, open_on: OpenQueueOn) -> None:
    gone = await open_on(redis_server.server, machine="there")
    await gone.register("w1")
    await gone.close()
    await (await open_on(redis_server.server, machine="here")).register("w2")
