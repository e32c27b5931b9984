"""Who keeps typing has an answer after max_wait and one draft at most, whatever snoozes and restarts come between."""

from __future__ import annotations

import random

import pytest

from convoq.db import Database
from convoq.settings import ConversationSettings
from tests.clock import ManualClock
from tests.handlers.house import ANA, House, open_house
from tests.turn.stepping import SteppedWorker, Steps, stepping

TYPING = ConversationSettings(quiet_window=3, max_wait=20)
DRAFT = 7.0  # seconds that the model takes
TICK = 0.5
LONGEST = 60.0  # seconds after which a run has failed in any case


class Evening:
    """A person who writes without end, and workers that are killed and started again until max_wait is over."""

    def __init__(self, house: House, steps: Steps, chance: random.Random) -> None:
        self.house = house
        self.steps = steps
        self.chance = chance
        self.worker: SteppedWorker | None = None
        self.drafting = 0.0  #: seconds that the model has been at work for this worker
        self.passed = 0.0

    async def pass_by(self) -> None:
        """Half a second: perhaps a message, perhaps a death, and what the workers do meanwhile."""
        if self.chance.random() < 0.3:
            await self.house.hear_at_once("and", sender=ANA)
        if self.worker is not None and self.passed < TYPING.max_wait and self.chance.random() < 0.05:
            self.worker.kill()
            await self.steps.recover(self.worker)
            self.worker = None
        await self.work()
        await self.steps.advance(TICK)
        self.passed += TICK

    async def work(self) -> None:
        """All that is due; the model answers when its time is over."""
        if self.worker is None or self.worker.done:
            claims = await self.house.claim(1)
            self.worker = await self.steps.start(claims[0]) if claims else None
            self.drafting = 0.0
        while self.worker is not None and not self.worker.done and not self.house.sent:
            if "reply" not in self.worker.at:
                await self.worker.go()
                self.drafting = 0.0
            elif self.drafting < DRAFT:
                await self.worker.go("is_overtaken")
                self.drafting += TICK
                return
            else:
                await self.worker.go("reply")


@pytest.mark.parametrize("seed", range(15))
async def test_who_keeps_typing_waits_for_the_longest_wait_and_one_draft_at_most(
    database: Database, clock: ManualClock, seed: int
) -> None:
    async with open_house(database, clock, timing=TYPING) as house, stepping(house) as steps:
        evening = Evening(house, steps, random.Random(seed))
        await house.hear_at_once("hello")
        while not house.sent and evening.passed < LONGEST:
            await evening.pass_by()
        assert house.sent
        assert evening.passed <= TYPING.max_wait + DRAFT + TICK
