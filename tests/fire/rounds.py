"""Scenarios in their short form, for tests: each for seconds instead of minutes."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path
from typing import NamedTuple

from tests.fire.campaign import attempt
from tests.fire.plan import Plan
from tests.fire.report import Section, render

SEED = os.environ.get("FIRE_SEED") or str(random.SystemRandom().randrange(10**6))


class Round(NamedTuple):
    scenario: str
    seconds: float
    number: int = 0
    harms: int | None = None
    engine: str = "sqlite"

    @property
    def seed(self) -> str:
        return f"{SEED}/{self.scenario}/{self.number}"


async def under_fire(directory: Path, *rounds: Round) -> list[Section]:
    """These rounds side by side, with their report printed; fails when the books of one do not balance."""
    plans = [
        Plan(one.seed, one.seconds, directory / one.engine / one.scenario / str(one.number), one.engine, one.number,
             one.harms, alone=False)
        for one in rounds
    ]  # fmt: skip
    sections = await asyncio.gather(*(attempt(one.scenario, plan) for one, plan in zip(rounds, plans, strict=True)))
    report = render(sections, [f"FIRE_SEED={SEED}"])
    sys.stdout.write(report)
    assert not any(section.problems for section in sections), report
    return sections
