"""64 turns at once, on several connections to one store: whatever becomes of each, a ceiling is not exceeded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from convoq.ai.base import CallBound, ModelCall, Reply, ReplyContext
from convoq.conversations.ceilings import BudgetRules, Ceiling
from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from convoq.errors import RetryLater
from convoq.phone import addresses_beside
from tests.clock import ManualClock
from tests.handlers.house import OUR_SMS, House, open_house
from tests.stores import on_each

PEOPLE = 64
CEILING = 6000
RULES = BudgetRules(
    ceilings=(
        Ceiling(scope="contact", period="day", tokens=300),
        Ceiling(scope="number", period="day", tokens=CEILING),
        Ceiling(scope="number", period="month", tokens=CEILING),
    )
)


class Provider:
    """Bills each request at most what it was allowed, whether anybody hears of it or not."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.billed = 0
        self.by_person: dict[tuple[str, ...], int] = {}

    async def warm(self) -> None: ...

    async def close(self) -> None: ...

    async def reply(self, context: ReplyContext) -> Reply:
        for _ in range(self.random.randint(1, 3)):
            await self._request(context)
        return Reply("yes", "m")

    async def _request(self, context: ReplyContext) -> None:
        sent, limit = self.random.randint(1, 60), self.random.randint(16, 60)
        held = await context.hold(CallBound(model="m", input_tokens=sent, most_input_tokens=sent, output_tokens=limit))
        written = self.random.randint(0, limit)
        self.billed += sent + written
        person = addresses_beside(context.address)
        self.by_person[person] = self.by_person.get(person, 0) + sent + written
        await asyncio.sleep(0)
        match self.random.randrange(4):
            case 0:  # its worker dies
                raise RetryLater(600, "nobody hears of it")
            case 1:
                cut_off = ModelCall(model="m", outcome="cancelled", input_tokens=sent, unheard_tokens=limit, hold=held)
                await context.record(cut_off)
                raise RetryLater(600, "cut off")
            case _:
                await context.record(
                    ModelCall(model="m", outcome="ok", input_tokens=sent, output_tokens=written, hold=held)
                )


@pytest.fixture
async def house(database: Database | PostgresDatabase, clock: ManualClock) -> AsyncIterator[House]:
    async with open_house(database, clock, budgets=RULES, wall=ManualClock(1_764_158_400_000)) as house:
        yield house


@on_each("seed", sqlite=range(3), postgres=range(1))
async def test_turns_at_once_do_not_exceed_a_ceiling_whatever_becomes_of_them(house: House, seed: int) -> None:
    provider = Provider(seed)
    house.responder.instead = provider
    for round_ in range(4):
        for person in range(PEOPLE):
            # Half of them by each channel at once, and by the other one in the next round.
            channel = "whatsapp:" if (round_ + person) % 2 else ""
            ours = f"{channel}{OUR_SMS}"
            await house.hear(f"{round_}", sender=f"{channel}+1555777{person:04}", to=ours)
        await house.take_in()
        claims = await house.claim(PEOPLE)
        await asyncio.gather(*(house.handle(claim) for claim in claims))
        assert provider.billed <= CEILING
        house.clock.advance(601)
    assert max(provider.by_person.values()) <= 300
    counted = dict(await house.rows("SELECT scope, tokens + tokens_held FROM spending WHERE period = '2025-11-26'"))
    [ours] = [tokens for scope, tokens in counted.items() if scope.startswith("number:")]
    assert provider.billed <= ours <= CEILING
    assert sum(tokens for scope, tokens in counted.items() if scope.startswith("contact:")) == ours
    assert provider.billed > CEILING // 2
