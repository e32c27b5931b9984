"""Keeps events that any client can cause at will from flooding the log."""

from __future__ import annotations

from collections.abc import Callable


class Throttle:
    """Admits `burst` events at once, then one every `every` seconds, and counts those that it holds back."""

    def __init__(self, clock: Callable[[], float], *, burst: int = 5, every: float = 10.0) -> None:
        self._clock = clock
        self._burst = burst
        self._every = every
        self._tokens = float(burst)
        self._refilled_at = clock()
        self._held_back = 0

    def admit(self) -> int | None:
        """How many events were held back since the last admitted one; None: hold this one back too."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._refilled_at) / self._every)
        self._refilled_at = now
        if self._tokens < 1:
            self._held_back += 1
            return None
        self._tokens -= 1
        held_back, self._held_back = self._held_back, 0
        return held_back
