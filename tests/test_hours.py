"""Opening hours: by weekday and time zone, over midnight, over a change of the clocks, without the holidays."""

from __future__ import annotations

import datetime as dt

import pytest

from convoq.hours import OpeningHours
from convoq.zones import zone_named

MADRID = zone_named("Europe/Madrid")
WEEK = ["mon-fri 09:00-13:00 14:00-18:00", "sat 10:00-12:00"]
HOUR = 3_600_000


def at(text: str) -> int:
    """Ms of a moment in Madrid: "2026-11-23 09:00", a Monday."""
    return round(dt.datetime.fromisoformat(text).replace(tzinfo=MADRID).timestamp() * 1000)


def hours(*lines: str, holidays: tuple[str, ...] = ()) -> OpeningHours:
    return OpeningHours(lines or WEEK, holidays, MADRID)


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-23 08:59", False), ("2026-11-23 09:00", True), ("2026-11-23 13:00", False),
        ("2026-11-23 17:59", True), ("2026-11-23 18:00", False), ("2026-11-28 11:00", True),
        ("2026-11-29 11:00", False),
    ],
)  # fmt: skip
def test_somebody_is_there_in_the_hours_of_the_day(moment: str, is_open: bool) -> None:
    assert hours().is_open(at(moment)) is is_open


@pytest.mark.parametrize("holiday", ["2026-12-25", "12-25"])
def test_nobody_is_there_on_a_holiday(holiday: str) -> None:
    assert not hours(holidays=(holiday,)).is_open(at("2026-12-25 10:00"))
    assert hours(holidays=(holiday,)).is_open(at("2026-12-24 10:00"))


def test_a_holiday_of_one_year_is_none_in_the_next() -> None:
    assert hours(holidays=("2026-12-25",)).is_open(at("2028-12-25 10:00"))


def test_hours_may_go_over_midnight() -> None:
    assert hours("fri 20:00-02:00").is_open(at("2026-11-28 01:59"))
    assert not hours("fri 20:00-02:00").is_open(at("2026-11-28 02:00"))


@pytest.mark.parametrize("line", ["sat-mon 00:00-24:00", "sat,sun,mon 00:00-24:00"])
def test_days_may_go_over_the_week_or_be_listed(line: str) -> None:
    days = [hours(line).is_open(at(f"2026-11-{day} 12:00")) for day in range(23, 30)]
    assert days == [True, False, False, False, False, True, True]


def test_only_the_time_counts_in_which_somebody_was_there() -> None:
    assert hours().open_between(at("2026-11-27 17:00"), at("2026-11-30 10:00")) == (1 + 2 + 1) * HOUR
    assert hours().open_between(at("2026-11-29 00:00"), at("2026-11-29 23:00")) == 0


def test_hours_are_of_the_clock_on_the_wall_when_it_is_put_back() -> None:
    sunday = hours("sun 00:00-12:00")  # 25 October 2026: from 3:00 back to 2:00
    assert sunday.is_open(at("2026-10-25 11:59"))
    assert not sunday.is_open(at("2026-10-25 12:00"))
    assert sunday.open_between(at("2026-10-25 00:00"), at("2026-10-25 23:00")) == 13 * HOUR


def test_when_they_closed_last_is_known() -> None:
    assert hours().closed_since(at("2026-11-29 12:00")) == at("2026-11-28 12:00")
    assert hours("mon 09:00-10:00", holidays=("2026-11-23",)).closed_since(at("2026-11-24 00:00")) == at(
        "2026-11-16 10:00"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("mon-fri", 'expected days and times, e.g. "mon-fri 09:00-18:00"'),
        ("", 'expected days and times, e.g. "mon-fri 09:00-18:00"'),
        ("monday 09:00-18:00", 'no days are called "monday"; expected mon, tue'),
        ("mon 9-18", '"9-18" are no times; expected e.g. 09:00-18:00'),
        ("mon 09:00-25:00", '"09:00-25:00" are no times'),
        ("mon 24:00-09:00", "are no times of a day"),
        ("mon 09:00-09:00", "are no times of a day"),
    ],
)
def test_what_are_no_hours_is_said_in_one_line(line: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as refused:
        hours(line)
    assert said in str(refused.value)


@pytest.mark.parametrize("holiday", ["christmas", "2026-13-01", "02-30", "2026-02-29", "25.12."])
def test_what_is_no_date_is_said_in_one_line(holiday: str) -> None:
    with pytest.raises(ValueError, match=r'is no date; expected e\.g\. "2026-12-24", or "12-25" for each year'):
        hours(holidays=(holiday,))
