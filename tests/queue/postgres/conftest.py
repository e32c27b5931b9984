"""A queue on PostgreSQL, and another session that does by hand what another process might just be doing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack

import psycopg
import pytest

from convoq.db.postgres.store import PostgresDatabase
from convoq.db.postgres.transaction import PostgresTransaction, adapters
from convoq.queue.postgres.backend import PostgresQueue, PostgresTimings
from tests.clock import ManualClock
from tests.queue.postgres.steps import OpenQueue, Session


@pytest.fixture
async def open_queue(migrated_postgres_url: str, clock: ManualClock) -> AsyncIterator[OpenQueue]:
    async with AsyncExitStack() as stack:

        async def open_one(
            url: str = migrated_postgres_url, *, death: float = 0.0, by_hand: bool = True
        ) -> PostgresQueue:
            database = await PostgresDatabase.open(url, clock=clock if by_hand else None, pool=2)
            stack.push_async_callback(database.close)
            queue = PostgresQueue(database, timings=PostgresTimings(death=death))
            stack.push_async_callback(queue.close)
            return queue

        yield open_one


@pytest.fixture
async def queue(open_queue: OpenQueue) -> PostgresQueue:
    return await open_queue()


@pytest.fixture
def open_session(migrated_postgres_url: str) -> Iterator[Callable[[], Session]]:
    with ExitStack() as stack:

        def open_one() -> Session:
            return stack.enter_context(psycopg.connect(migrated_postgres_url, autocommit=True, context=adapters()))

        yield open_one


@pytest.fixture
def session(open_session: Callable[[], Session]) -> Session:
    return open_session()


@pytest.fixture
def tx(session: Session) -> Iterator[PostgresTransaction]:
    """A transaction of a store whose process stands still in the middle of it, until the test ends it."""
    session.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
    yield PostgresTransaction(session)
    session.rollback()
