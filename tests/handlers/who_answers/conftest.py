"""A house in which people of ours look at what the AI hands over."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from convoq.conversations.handing_over import HandoverRules
from convoq.db import Database
from convoq.settings import ConversationSettings
from tests.clock import ManualClock
from tests.handlers.answer.conftest import model as model
from tests.handlers.house import TIMING, House, open_house
from tests.handovers import HANDOVER


@pytest.fixture
def rules() -> HandoverRules:
    return HANDOVER


@pytest.fixture
def timing() -> ConversationSettings:
    return TIMING


@pytest.fixture
async def house(
    database: Database, clock: ManualClock, rules: HandoverRules, timing: ConversationSettings
) -> AsyncIterator[House]:
    async with open_house(database, clock, handover=rules, timing=timing) as house:
        yield house
