"""A clock that tests turn by hand."""

from __future__ import annotations


class ManualClock:
    """Stands still until it is moved. Milliseconds, as every clock of the project."""

    def __init__(self, now: int = 1_760_000_000_000) -> None:
        self._now = now

    def now(self) -> int:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += round(seconds * 1000)

    def set(self, now: int) -> None:
        self._now = now
