"""Lanes whose workers died: one of them may be the cause, and must not take the others with it every time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from convoq.jobs import INTAKE
from convoq.queue.base import Claim

SUSPECT_CRASHES: Final = 2  # of a lane's claims, from which on its job may be what kills its worker
SURVIVED_FOR_ONE_MORE: Final = 4  # suspects; few enough have none beside them, however often their workers died
GROWTH: Final = 4.0  # of the hold with each further crash: what is merely slow must come to its end once


class Suspicion:
    """Suspects begin one after the other: one holds the others back for its first `hold` seconds, not for its length.

    With each further crash of either that is longer, up to `longest`: what kills its worker late does not take what is
    slow down with it again and again, until both are buried. Of every few that this worker survives one more may begin
    beside the others, so that many who are innocent are no queue of one; a new worker begins with one again.
    """

    def __init__(self, hold: float, *, longest: float) -> None:
        self._hold = hold
        self._longest = longest
        self._survived = 0

    def holds_back(self, claim: Claim, running: Iterable[tuple[Claim, float]]) -> bool:
        """Whether the claim must wait for one of these, which run for so many seconds."""
        if not is_suspect(claim):
            return False
        begun = sum(
            seconds < self._held(max(claim.crashes, other.crashes)) for other, seconds in running if is_suspect(other)
        )
        return begun > self._survived // SURVIVED_FOR_ONE_MORE

    def survived(self, claim: Claim) -> None:
        """Its handler has come to an end, whichever that was, and the worker lives."""
        self._survived += is_suspect(claim)

    def _held(self, crashes: int) -> float:
        return min(self._hold * math.pow(GROWTH, crashes - SUSPECT_CRASHES), self._longest)


def is_suspect(claim: Claim) -> bool:
    """Handlers of INTAKE run nothing that could kill their worker, and what they take in must not wait."""
    return claim.crashes >= SUSPECT_CRASHES and claim.priority != INTAKE
