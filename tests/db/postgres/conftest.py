"""The store on PostgreSQL, and a table that stands for any."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from convoq.db.postgres.store import PostgresDatabase
from convoq.db.transaction import Transaction
from tests.clock import ManualClock

Unit = Callable[[Transaction], None]


@pytest.fixture
async def store(migrated_postgres_url: str, clock: ManualClock) -> AsyncIterator[PostgresDatabase]:
    async with await PostgresDatabase.open(migrated_postgres_url, clock=clock) as store:
        yield store
