"""The API on each database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from tests.api.conftest import Events
from tests.api.conftest import breaks_inside as breaks_inside
from tests.api.conftest import events as events
from tests.clock import ManualClock
from tests.console.site import Api, open_api
from tests.handlers.house import House, open_house
from tests.stores import database as database


@pytest.fixture
async def house(database: Database | PostgresDatabase, clock: ManualClock, events: Events) -> AsyncIterator[House]:
    async with open_house(database, clock) as house:
        yield house


@pytest.fixture
async def api(house: House) -> AsyncIterator[Api]:
    async with open_api(house) as api:
        yield api
