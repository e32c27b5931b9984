"""How long a failing model is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

# Seconds.
SHORTEST: Final = 10.0
LONGEST: Final = 120.0
LONGEST_RETRY_AFTER: Final = 900.0


class Outage:
    """Remembers since when a model fails. Waits grow with the outage, so that a message outlives a long one.

    `clock` gives seconds that never jump.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: float | None = None
        self._until = 0.0

    @property
    def resting(self) -> bool:
        """Whether the model failed so recently that another one is better asked first."""
        return self._since is not None and self._clock() < self._until

    def failed(self, retry_after: float | None) -> float:
        """Seconds to wait before the model is asked again: what it said itself, else as long as it has failed."""
        now = self._clock()
        if self._since is None:
            self._since = now
        wait = min(max(now - self._since, SHORTEST), LONGEST)
        if retry_after is not None:
            wait = min(max(retry_after, 1.0), LONGEST_RETRY_AFTER)
        self._until = now + wait
        return wait

    def ended(self) -> None:
        self._since = None
