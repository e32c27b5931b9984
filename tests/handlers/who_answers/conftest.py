"""A house in which people of ours look at what the AI hands over."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from convoq.db import Database
from tests.clock import ManualClock
from tests.handlers.house import House, open_house
from tests.handovers import HANDOVER


@pytest.fixture
async def house(database: Database, clock: ManualClock) -> AsyncIterator[House]:
    async with open_house(database, clock, handover=HANDOVER) as house:
        yield house
