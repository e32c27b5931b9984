"""A house whose webhook is a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from convoq.ai.prices import PriceList
from convoq.conversations.ceilings import BudgetRules, Ceiling
from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from convoq.settings.notify import Event, NotifySettings
from tests.clock import ManualClock
from tests.handlers.house import House, open_house
from tests.handovers import HANDOVER
from tests.notify.endpoint import SECRET, Endpoint, open_endpoint
from tests.stores import database as database

BUDGETS = BudgetRules(ceilings=(Ceiling(scope="number", period="day", tokens=1000),))
PRICES = PriceList((), "USD")


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with open_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def notify(endpoint: Endpoint) -> NotifySettings:
    """All there is to tell, to a server on this machine."""
    return NotifySettings(
        url=SecretStr(endpoint.url), secret=SecretStr(SECRET), events=tuple(Event), allow_private=True, timeout=5
    )


@pytest.fixture
async def house(
    database: Database | PostgresDatabase, clock: ManualClock, notify: NotifySettings
) -> AsyncIterator[House]:
    async with open_house(database, clock, handover=HANDOVER, budgets=BUDGETS, notify=notify) as house:
        yield house
