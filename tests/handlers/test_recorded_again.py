"""A unit that was undone runs again: what it noted for the queue before may name rows that there never were."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from convoq.jobs import ProcessAiResponse
from convoq.queue.base import JobFilter
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
