"""How a worker divides its slots among the classes of jobs: people first, and nothing starves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Final, NamedTuple

from convoq.jobs import INTAKE, NORMAL, PEOPLE, UPKEEP

INTAKE_SLOTS: Final = 8  # of INTAKE alone, besides the worker's concurrency: nothing slow may hold up a STOP
PEOPLES_SHARE: Final = 4  # one slot in so many is kept free of everything that no person waits for
# Of eight claims of a busy worker, one begins with a job of the user's own and one with upkeep.
LEADS: Final = (None, None, None, NORMAL, None, None, None, UPKEEP)


class ClassRoom(NamedTuple):
    """What one claim may take, as Queue.claim understands it."""

    background: int
    first: int | None


NO_ROOM: Final = ClassRoom(background=0, first=None)


class SlotShares:
    """Long jobs of the user's own never fill all slots, and a flood of any class leaves room for the others.

    INTAKE has slots of its own and is not counted here.

    A worker with a single slot has nothing to divide but the order: a person then waits for the job that runs.
    """

    def __init__(self, concurrency: int) -> None:
        kept = max(1, concurrency // PEOPLES_SHARE) if concurrency > 1 else 0
        self._most_background = concurrency - kept
        self._turn = count()

    def next(self, running: Iterable[int]) -> ClassRoom:
        """For the next claim, while jobs of these classes run."""
        return ClassRoom(self._background(running), LEADS[next(self._turn) % len(LEADS)])

    def _background(self, running: Iterable[int]) -> int:
        return max(0, self._most_background - sum(priority > PEOPLE for priority in running))


def unfilled(taken: Sequence[int], intake: int, free: int, background: int) -> frozenset[int]:
    """The classes of which a claim might have taken more; of the others the end of a run brings the next, no wait."""
    left: set[int] = set()
    if taken.count(INTAKE) < intake:
        left.add(INTAKE)
    if len(taken) - taken.count(INTAKE) < free:
        left |= {PEOPLE} if sum(priority > PEOPLE for priority in taken) >= background else {PEOPLE, NORMAL, UPKEEP}
    return frozenset(left)
