"""How a worker divides its slots among the classes of jobs: people first, and nothing starves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Final, NamedTuple

from convoq.jobs import INTAKE, NORMAL, PEOPLE, UPKEEP

INTAKE_SLOTS: Final = 8  # of INTAKE alone, besides the worker's concurrency: nothing slow may hold up a STOP
PEOPLES_SHARE: Final = 4  # one slot in so many is kept free of everything that no person waits for
# Of eight claims of a busy worker, one begins with a job of the user's own and one with upkeep.
LEADS: Final = (None, None, None, NORMAL, None, None, None, UPKEEP)


class Room(NamedTuple):
    """What one claim may take, as Queue.claim understands it."""

    reserve: int
    limit: int
    background: int

    @property
    def classes(self) -> frozenset[int]:
        """Those of which it may take a lane."""
        return self.left(())

    def left(self, taken: Sequence[int]) -> frozenset[int]:
        """The classes of which a claim that took lanes of these classes might have taken more."""
        left: set[int] = set()
        intake = taken.count(INTAKE)
        if intake < self.reserve:
            left.add(INTAKE)
        if len(taken) - intake < self.limit:
            left.add(PEOPLE)
            if sum(priority > PEOPLE for priority in taken) < self.background:
                left |= {NORMAL, UPKEEP}
        return frozenset(left)


class SlotShares:
    """Long jobs of the user's own never fill all slots, and a flood of any class leaves room for the others.

    INTAKE has slots of its own. A worker with a single slot besides has nothing to divide but the order: a person then
    waits for the job that runs.
    """

    def __init__(self, concurrency: int, intake_slots: int = INTAKE_SLOTS) -> None:
        kept = max(1, concurrency // PEOPLES_SHARE) if concurrency > 1 else 0
        self._concurrency = concurrency
        self._intake_slots = intake_slots
        self._most_background = concurrency - kept
        self._turn = count()

    def room(self, running: Sequence[int]) -> Room:
        """While jobs of these classes run."""
        intake = running.count(INTAKE)
        return Room(
            reserve=max(0, self._intake_slots - intake),
            limit=max(0, self._concurrency - (len(running) - intake)),
            background=max(0, self._most_background - sum(priority > PEOPLE for priority in running)),
        )

    def first(self) -> int | None:
        """The class of which the next claim takes one lane before all others."""
        return LEADS[next(self._turn) % len(LEADS)]
