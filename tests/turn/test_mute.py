"""Mute means mute: after a take-over nothing of the AI's leaves that had not been begun, whatever two workers do.

Take-overs, replies, give-backs, pauses and timers come between any two steps of a turn, often; workers die, stand
still and come back late. What had been begun is what the store had marked as being sent: its request may be on its way.
"""

from __future__ import annotations

import asyncio
import os

from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from tests.clock import ManualClock
from tests.handlers.house import TIMING, open_house
from tests.stores import on_each
from tests.turn.confirming import NumberedConfirmations, numbered_handover
from tests.turn.timeline import Timeline

BATCHES = 5 * (100 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 1)
SEEDS = 20  #: of a batch
ACTS = 60
OFTEN = {"take_over": 15, "reply": 4, "hand_back": 20, "wait_long": 2, "ask_for_person": 2, "write": 2}


@on_each("batch", sqlite=range(BATCHES), postgres=range(1))
async def test_after_a_take_over_nothing_of_the_ais_leaves_that_had_not_been_begun(
    database: Database | PostgresDatabase, clock: ManualClock, batch: int
) -> None:
    numbered, handover, interrupted = NumberedConfirmations(), numbered_handover(), 0
    async with (
        asyncio.timeout(3600),
        open_house(database, clock, timing=TIMING, confirmations=numbered, handover=handover) as house,
    ):
        for seed in range(batch * SEEDS, (batch + 1) * SEEDS):
            timeline = Timeline(house, seed, handover, acts=ACTS, often=OFTEN)
            try:
                await timeline.run()
            except AssertionError as violation:
                raise AssertionError(f"seed {seed}: {violation}") from violation
            interrupted += timeline.interrupted
    assert interrupted > SEEDS
