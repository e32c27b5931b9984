"""A unit that was undone runs again: what it noted for the queue before may name rows that there never were."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from convoq.handlers.base import ClaimContext
from convoq.jobs import NewJob, ProcessAiResponse
from convoq.queue.base import JobFilter
from convoq.queue.redis.backend import RedisQueue
from convoq.queue.redis.connection import Server
from tests.clock import ManualClock
from tests.handlers.house import House, open_house
from tests.servers.redis import RedisServer

ROUNDS, PEOPLE = 4, 40


@pytest.fixture
async def house(
    database: Database | PostgresDatabase, clock: ManualClock, redis_server: RedisServer
) -> AsyncIterator[House]:
    async with open_house(database, clock, redis=Server(redis_server.url)) as house:
        yield house


async def test_the_turns_of_people_who_write_first_at_one_moment_are_of_threads_that_are_there(house: House) -> None:
    for number in range(ROUNDS * PEOPLE):
        await house.hear("hello", sender=f"whatsapp:+1555123{number:04}")
        if number % PEOPLE == PEOPLE - 1:
            # Side by side they meet: on PostgreSQL those that lose run again, with other ids for their threads.
            await asyncio.gather(*(house.handle(claim) for claim in await house.claim(0, reserve=PEOPLE)))
    turns = await house.engine.list(JobFilter(kinds=(ProcessAiResponse.kind,)), limit=ROUNDS * PEOPLE + 1)
    named = sorted(ProcessAiResponse.model_validate_json(job.payload).thread for job in turns)
    assert named == sorted(thread_id for (thread_id,) in await house.rows("SELECT id FROM threads"))


async def test_what_was_recorded_gets_its_turn_though_its_claim_is_lost_before_that_is_enqueued(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(house.engine, RedisQueue)
    recorded, lost, follow = asyncio.Event(), asyncio.Event(), house.engine.follow

    async def follow_late(jobs: Sequence[NewJob], due: Sequence[str] = ()) -> list[bool]:
        recorded.set()
        await lost.wait()
        return await follow(jobs, due)

    monkeypatch.setattr(house.engine, "follow", follow_late)
    await house.hear("hello")
    [claim] = await house.claim(0, reserve=1)
    handling = asyncio.ensure_future(house.handlers[claim.kind](ClaimContext(claim, house.queue)))
    async with asyncio.timeout(10):
        await recorded.wait()
        handling.cancel()
        asyncio.get_running_loop().call_soon(lost.set)
        with pytest.raises(asyncio.CancelledError):
            await handling
    assert await house.engine.count(JobFilter(kinds=(ProcessAiResponse.kind,))) == 1
