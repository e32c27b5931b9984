"""When slots come: whole multiples of a period, or a calendar in a time zone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from itertools import takewhile

from convoq.zones import zone_named


class Every:
    """Slots at whole multiples of a period, so that every scheduler counts the same ones."""

    def __init__(self, seconds: float) -> None:
        if not 1 <= seconds <= 366 * 86400:
            raise ValueError(f"every = {seconds:g} is out of range: give 1 second to 366 days, or use cron")
        self.period = round(seconds * 1000)
        self.spec = f"every {self.period} ms"

    def after(self, moment: int) -> Iterator[int]:
        """The slots later than `moment`, in order."""
        slot = moment // self.period * self.period
        while True:
            slot += self.period
            yield slot

    def latest(self, now: int, *, after: int) -> int | None:
        """The last slot up to `now` that is later than `after`."""
        slot = now // self.period * self.period
        return slot if slot > after else None


class Cron:
    """Slots of a calendar in one time zone, with the rules of Debian's cron when the clocks change.

    A job at a fixed time runs once on both days: in spring at the end of a skipped hour, in autumn the first time
    its hour comes. A job with a `*` in minute or hour follows the hours that really pass.
    """

    def __init__(self, expression: str, timezone: str) -> None:
        self.expression = " ".join(expression.split())
        self.zone = zone_named(timezone)
        self.spec = f"cron {self.expression} {timezone}"
        self._check()

    def _check(self) -> None:
        from cronsim import CronSimError

        if len(self.expression.split()) != 5:
            raise ValueError(f'bad cron "{self.expression}": five fields: minute hour day month weekday')
        try:
            first = next(self.after(0), None)
        except CronSimError as error:
            raise ValueError(f'bad cron "{self.expression}": {str(error).lower()}') from error
        if first is None:
            raise ValueError(f'bad cron "{self.expression}": there is no such day')

    def after(self, moment: int) -> Iterator[int]:
        """The slots later than `moment`, in order."""
        from cronsim import CronSim

        previous = moment
        for at in CronSim(self.expression, datetime.fromtimestamp(moment // 1000, self.zone)):
            slot = int(at.timestamp()) * 1000
            # Where an hour is skipped or repeated, cronsim names an instant twice or one that is over.
            if slot > previous:
                yield slot
                previous = slot

    def latest(self, now: int, *, after: int) -> int | None:
        """The last slot up to `now` that is later than `after`."""
        # Widening windows, because a week of a job that runs every minute is ten thousand slots.
        # Looking backwards with cronsim is no way out: within a repeated hour it misses slots.
        for window in (3_600_000, 86_400_000, now - after):
            start = max(after, now - window)
            passed = deque(takewhile(lambda slot: slot <= now, self.after(start)), maxlen=1)
            if passed or start == after:
                break
        return passed[0] if passed else None
