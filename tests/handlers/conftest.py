"""Every test here gets a house of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from tests.clock import ManualClock
from tests.handlers.house import House, open_house
from tests.stores import database as database


@pytest.fixture
async def house(
    database: Database | PostgresDatabase, clock: ManualClock, twilio_timeout: float
) -> AsyncIterator[House]:
    async with open_house(database, clock, timeout=twilio_timeout) as house:
        yield house
