"""When a desk is open: hours by weekday, in a time zone, without the holidays."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from typing import Final

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MOST_DAYS: Final = 400  #: that are looked through for the next or the last hours

_TIME: Final = r"([01]?[0-9]|2[0-4]):([0-5][0-9])"
_RANGE: Final = re.compile(rf"{_TIME}-{_TIME}")
_HOLIDAY: Final = re.compile(r"(?:([0-9]{4})-)?([0-9]{2})-([0-9]{2})")
_DAY: Final = dt.timedelta(days=1)

Range = tuple[dt.timedelta, dt.timedelta]


class OpeningHours:
    """Hours like "mon-fri 09:00-13:00 14:00-18:00", holidays like "2026-12-24" or, each year, "12-25". Raises
    ValueError, one line, for what is neither. Without a zone they are the machine's. Times are ms on the wall clock."""

    def __init__(self, hours: Sequence[str], holidays: Sequence[str], zone: dt.tzinfo | None) -> None:
        self._zone = zone
        self._by_weekday: dict[int, list[Range]] = {}
        for line in hours:
            days, ranges = _read_line(line)
            for day in days:
                self._by_weekday.setdefault(day, []).extend(ranges)
        self._holidays = frozenset(map(_read_holiday, holidays))

    def is_open(self, at: int) -> bool:
        return any(begin <= at < end for begin, end in self._around(at, 1))

    def closed_since(self, at: int) -> int:
        """When they closed last, before that moment; 0: long ago."""
        return max((end for _, end in self._around(at, MOST_DAYS) if end <= at), default=0)

    def open_between(self, since: int, until: int) -> int:
        """For how many ms the desk was open in that time, as far as it counts: MOST_DAYS at most."""
        days = min((until - since) // (86_400 * 1000) + 2, MOST_DAYS)
        return sum(max(0, min(end, until) - max(begin, since)) for begin, end in self._around(until, days))

    def _around(self, at: int, days: int) -> Iterator[tuple[int, int]]:
        """The hours of so many days before that moment's and of the day after."""
        today = dt.datetime.fromtimestamp(at / 1000, self._zone).date()
        for offset in range(-days, 2):
            day = today + offset * _DAY
            if (0, day.month, day.day) in self._holidays or (day.year, day.month, day.day) in self._holidays:
                continue
            for begin, end in self._by_weekday.get(day.weekday(), ()):
                yield self._moment(day, begin), self._moment(day, end)

    def _moment(self, day: dt.date, time: dt.timedelta) -> int:
        # Of the clock on the wall, also where it is put forward or back that day.
        local = dt.datetime.combine(day, dt.time()) + time
        return round(local.replace(tzinfo=self._zone).timestamp() * 1000)


def _read_line(line: str) -> tuple[list[int], list[Range]]:
    days, *ranges = line.lower().split() or [""]
    if not ranges:
        raise ValueError(f'"{line}": expected days and times, e.g. "mon-fri 09:00-18:00"')
    return _read_days(days, line), [_read_range(one, line) for one in ranges]


def _read_days(text: str, line: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in WEEKDAYS or (dash and last not in WEEKDAYS):
            raise ValueError(
                f'"{line}": no days are called "{part}"; expected mon, tue, wed, thu, fri, sat, sun, or mon-fri'
            )
        begin, end = WEEKDAYS.index(first), WEEKDAYS.index(last or first)
        found += [day % 7 for day in range(begin, end + 1 if end >= begin else end + 8)]
    return found


def _read_range(text: str, line: str) -> Range:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise ValueError(f'"{line}": "{text}" are no times; expected e.g. 09:00-18:00')
    begin, end = (dt.timedelta(hours=int(match[at]), minutes=int(match[at + 1])) for at in (1, 3))
    if begin >= _DAY or end > _DAY or begin == end:
        raise ValueError(f'"{line}": "{text}" are no times of a day; expected e.g. 09:00-18:00')
    return begin, end if end > begin else end + _DAY


def _read_holiday(text: str) -> tuple[int, int, int]:
    match = _HOLIDAY.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        year, month, day = int(match[1] or 0), int(match[2]), int(match[3])
        dt.date(year or 2000, month, day)  # a year that has 29 February
    except ValueError:
        raise ValueError(f'"{text}" is no date; expected e.g. "2026-12-24", or "12-25" for each year') from None
    return year, month, day
