"""The invariants of the turn (design: the turn, 1 to 9 and 12) over random interleavings of two workers' steps.

What each run does is in timeline.py, what must hold after each of its steps in watching.py.
"""

from __future__ import annotations

import asyncio
import os

import pytest

from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from tests.clock import ManualClock
from tests.handlers.house import TIMING, open_house
from tests.stores import on_each
from tests.turn.confirming import NumberedConfirmations, numbered_handover
from tests.turn.timeline import Timeline

pytestmark = pytest.mark.long

BATCHES = 10
SEEDS = 20 * (20 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 1)  #: of a batch
PATIENT = TIMING.model_copy(update={"quiet_window": 2.0})


@on_each("batch", sqlite=range(BATCHES), postgres=range(2))
async def test_every_step_of_any_timeline_keeps_the_invariants(
    database: Database | PostgresDatabase, clock: ManualClock, batch: int
) -> None:
    """One file for all seeds of a batch, one person each."""
    timing = PATIENT if batch % 2 else TIMING
    numbered, handover = NumberedConfirmations(), numbered_handover()
    async with (
        asyncio.timeout(600),
        open_house(database, clock, timing=timing, confirmations=numbered, handover=handover) as house,
    ):
        seeds = SEEDS if isinstance(database, Database) else SEEDS // 3
        for seed in range(batch * SEEDS, batch * SEEDS + seeds):
            try:
                await Timeline(house, seed, handover).run()
            except AssertionError as violation:
                raise AssertionError(f"seed {seed}: {violation}") from violation
