"""With the queue on Redis nothing is lost between the store's commit and the queue; and a loop is told of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from convoq.conversations.loops import LoopRules
from convoq.conversations.pausing import thread_scope
from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from convoq.queue.redis.connection import Server
from convoq.settings.notify import Event, NotifySettings
from tests.clock import ManualClock
from tests.handlers.house import House, open_house
from tests.handlers.who_answers.chats import ask_for_person
from tests.handovers import HANDOVER
from tests.notify.endpoint import Endpoint
from tests.servers.redis import RedisServer

Opened = Callable[..., AbstractAsyncContextManager[House]]


@pytest.fixture
def opened(database: Database | PostgresDatabase, clock: ManualClock, notify: NotifySettings) -> Opened:
    def opened(**options: Any) -> AbstractAsyncContextManager[House]:
        return open_house(database, clock, handover=HANDOVER, notify=notify, **options)

    return opened


@pytest.fixture
async def house(opened: Opened, redis_server: RedisServer) -> AsyncIterator[House]:
    async with opened(redis=Server(redis_server.url)) as house:
        yield house


async def test_what_arises_is_told_through_a_queue_on_redis(house: House, endpoint: Endpoint) -> None:
    await ask_for_person(house)
    await house.tell()
    assert [one.type for one in endpoint.taken] == [Event.HANDED_OVER]


async def test_a_kill_between_the_store_and_the_queue_costs_a_minute(house: House, endpoint: Endpoint) -> None:
    await ask_for_person(house)
    await house.notifications.step(lambda *_: None)  # the store has committed, and nothing came to the queue
    await house.tell()
    assert endpoint.taken == []
    house.clock.advance(60)
    await house.tell()
    assert [one.type for one in endpoint.taken] == [Event.HANDED_OVER]


async def test_a_conversation_that_is_paused_for_a_loop_is_told_and_that_it_goes_on(
    opened: Opened, endpoint: Endpoint
) -> None:
    async with opened(loops=LoopRules(guard=True, most_replies=0)) as house:
        for number in range(6):
            await house.hear(f"I am out of office, ticket {number}")
            await house.settle()
        await house.tell()
        assert [one.type for one in endpoint.taken] == [Event.LOOP_PAUSED, Event.HANDED_OVER]
        assert "times in a row" in endpoint.taken[0].data["reason"]
        await house.acts().resume(thread_scope(1))
        await house.tell()
        assert [one.type for one in endpoint.taken][2:] == [
            f"{Event.LOOP_PAUSED}.resolved",
            f"{Event.HANDED_OVER}.resolved",
        ]
