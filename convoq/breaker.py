"""One for all who ask the same: what fails is left alone for a while, then asked again by one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

# Seconds.
SHORTEST: Final = 2.0
LONGEST: Final = 120.0
LONGEST_RETRY_AFTER: Final = 900.0

SEVERAL: Final = 2  #: callers that have failed and none has succeeded: then it is not for what they ask

Cause = TypeVar("Cause")


class Breaker(Generic[Cause]):
    """Lets every caller ask while it answers; while it fails one at a time, after waits that grow with the outage.

    It counts as failing once several callers have failed in a row. A caller that was admitted says how that went:
    `ended` or `failed`, and `abandoned` in any case when it is done.
    `clock` gives seconds that never jump; waits are `shortest` to `longest` seconds; `several` callers are needed.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        shortest: float = SHORTEST,
        longest: float = LONGEST,
        several: int = SEVERAL,
    ) -> None:
        self._clock = clock
        self._shortest = shortest
        self._longest = longest
        self._several = several
        self._since: float | None = None
        self._until = 0.0
        self._is_open = False
        self._probing = False
        self._failed: set[int] = set()  # callers, since one has succeeded
        self._turned_away: set[int] = set()
        self.cause: Cause | None = None  #: of the last failure, while the outage lasts

    @property
    def resting(self) -> bool:
        """Whether it failed so recently that another one is better asked first."""
        return self._since is not None and self._clock() < self._until

    def admit(self, caller: int) -> float:
        """0.0: it may be asked now. Else how many seconds to wait before this is called again."""
        if not self._is_open:
            return 0.0
        now = self._clock()
        if now < self._until or self._probing or (self._is_unfair(caller) and now < self._until + self._longest):
            self._turned_away.add(caller)
            return max(self._until - now, 0.0) or self._shortest
        self._probing = True
        self._turned_away.discard(caller)
        return 0.0

    def _is_unfair(self, caller: int) -> bool:
        """What fails for one caller alone must not use up every probe while others wait that might succeed."""
        return caller in self._failed and not self._turned_away <= self._failed

    def failed(self, caller: int, cause: Cause, retry_after: float | None = None) -> float:
        """Seconds to wait before it is asked again: what it said itself, else as long as it has failed."""
        now = self._clock()
        if self._since is None:
            self._since = now
        wait = min(max(now - self._since, self._shortest), self._longest)
        if retry_after is not None:
            wait = min(max(retry_after, 1.0), LONGEST_RETRY_AFTER)
        self._failed.add(caller)
        self._is_open = self._is_open or len(self._failed) >= self._several
        self._until, self._probing, self.cause = now + wait, False, cause
        return wait

    def ended(self) -> None:
        """It has answered."""
        self._since, self._is_open, self._probing, self.cause = None, False, False, None
        self._failed.clear()
        self._turned_away.clear()

    def abandoned(self) -> None:
        """The request is over, also where it does not tell anything: the next one may try."""
        self._probing = False


class Breakers(Generic[Cause]):
    """Several that all have to let a caller ask: the account, the server, what is asked of it."""

    def __init__(self, *breakers: Breaker[Cause]) -> None:
        self._breakers = breakers

    @property
    def resting(self) -> bool:
        """Whether one of them is."""
        return any(one.resting for one in self._breakers)

    def admit(self, caller: int) -> tuple[float, Cause | None]:
        """As Breaker.admit, and what the one that turns the caller away has failed of."""
        for number, one in enumerate(self._breakers):
            if (wait := one.admit(caller)) and one.cause is not None:
                for other in self._breakers[:number]:
                    other.abandoned()  # which may have admitted it as the one that asks
                return wait, one.cause
        return 0.0, None

    def ended(self) -> None:
        for one in self._breakers:
            one.ended()

    def abandoned(self) -> None:
        for one in self._breakers:
            one.abandoned()
