"""A house in which people of ours look at what the AI hands over."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from convoq.conversations.handing_over import HandoverRules
from convoq.db import Database
from tests.clock import ManualClock
from tests.handlers.answer.conftest import model as model
from tests.handlers.house import House, open_house
from tests.handovers import HANDOVER


@pytest.fixture
def rules() -> HandoverRules:
    return HANDOVER


@pytest.fixture
async def house(database: Database, clock: ManualClock, rules: HandoverRules) -> AsyncIterator[House]:
    async with open_house(database, clock, handover=rules) as house:
        yield house
