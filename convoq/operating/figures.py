"""Figures of a span of days: what came, who answered how fast, what was handed over, what it cost."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from convoq.clock import Clock
from convoq.conversations.ceilings import budget_rules
from convoq.conversations.figures import HOUR_MS, DayCost, HandedOver, Happened, Span, read_happened, read_minutes
from convoq.conversations.queries import Reading
from convoq.db.store import Store
from convoq.errors import ConvoqError
from convoq.operating.numbers import our_addresses
from convoq.settings import Options
from convoq.settings.people import DEFAULT_PERSONA

MOST_DAYS: Final = 400
USUAL_DAYS: Final = 30
LAST_HOUR: Final = 60  #: minutes


@dataclass(slots=True)
class Day:
    """Messages of people by what became of them, and the AI's answers to them. In the zone of [budgets]."""

    date: dt.date
    accepted: int = 0
    answered_by_ai: int = 0
    answered_by_people: int = 0
    unanswered: int = 0  #: that wait, or that nobody could answer
    replies: int = 0
    reply_p50: float | None = None  #: seconds from the last message to the first part that was sent
    reply_p95: float | None = None
    handed_over: int = 0
    opened: int = 0  #: conversations
    by_ai_alone: int = 0  #: of those, without a person of ours
    drafts: int = 0
    superseded: int = 0  #: of those, given up for a newer message
    undelivered: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Handovers:
    """Of one reason."""

    reason: str
    count: int
    taken: int  #: by a person of ours
    waiting: int  #: still
    taken_p50: float | None  #: seconds
    taken_p95: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    at: int  #: ms on the queue's clock
    accepted: int
    unanswered: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    first: dt.date
    last: dt.date
    days: Sequence[Day]
    reply_p50: float | None
    reply_p95: float | None
    handovers: Sequence[Handovers]
    undelivered_by_code: Mapping[str, int]
    costs: Sequence[DayCost]
    last_hour: Sequence[Minute]


async def read_figures(
    database: Store, options: Options, wall: Clock, *, first: dt.date | None = None, last: dt.date | None = None,
    number: str | None = None, persona: str | None = None,
) -> Figures:  # fmt: skip
    """From the first day through the last, else of the last 30. Raises ConvoqError."""
    zone = budget_rules(options.budgets).zone
    now, offset = database.clock.now(), wall.now() - database.clock.now()
    last = last or dt.datetime.fromtimestamp((now + offset) / 1000, zone).date()
    first = first or last - dt.timedelta(days=USUAL_DAYS - 1)
    if not dt.timedelta(0) <= last - first < dt.timedelta(days=MOST_DAYS):
        raise ConvoqError(f"from {first} to {last} are no 1 to {MOST_DAYS} days")
    start, end = _midnight(first, zone) - offset, _midnight(last + dt.timedelta(days=1), zone) - offset
    span = Span(start=start, end=end, ours=await _numbers(database, options, number, persona))
    happened = await database.read(read_happened, span)
    dates = [first + dt.timedelta(days=index) for index in range((last - first).days + 1)]
    starts = [_midnight(date, zone) - offset for date in dates]
    since = now + 1 - LAST_HOUR * 60_000
    minutes = {minute: rest for minute, *rest in await database.read(read_minutes, since, now + 1)}
    return Figures(
        first=first, last=last, days=_days(happened, dates, starts, span),
        reply_p50=_quantile(_tenths(happened), 0.5), reply_p95=_quantile(_tenths(happened), 0.95),
        handovers=list(_handovers(happened.handed_over)),
        undelivered_by_code=dict(_by_code(happened)), costs=happened.costs,
        last_hour=[
            Minute(at=since + index * 60_000, accepted=one[0], unanswered=one[1])
            for index in range(LAST_HOUR) if (one := minutes.get(index, [0, 0]))
        ],
    )  # fmt: skip


async def _numbers(
    database: Store, options: Options, number: str | None, persona: str | None
) -> tuple[str, ...] | None:
    """Those of ours that are meant; None: all. Raises ConvoqError."""
    if number is None and persona is None:
        return None
    known = await our_addresses(Reading(database), options)
    if number is not None and number not in known:
        raise ConvoqError(f"{number} is no number of ours")
    personas = {one.address: one.persona for one in options.numbers}
    return tuple(
        address
        for address in known
        if number in (None, address) and persona in (None, personas.get(address, DEFAULT_PERSONA))
    )


def _midnight(date: dt.date, zone: dt.tzinfo) -> int:
    return round(dt.datetime.combine(date, dt.time(), zone).timestamp() * 1000)


def _days(happened: Happened, dates: Sequence[dt.date], starts: Sequence[int], span: Span) -> list[Day]:
    days = [Day(date) for date in dates]
    of_hour = _DayOfHour(starts, span)
    for accepted in happened.accepted:
        day = days[of_hour(accepted.hour)]
        day.accepted += accepted.number
        day.answered_by_ai += accepted.number if accepted.outcome == "answered" else 0
        day.answered_by_people += accepted.number if accepted.by_person else 0
        waits = accepted.outcome in (None, "failed") or (accepted.outcome == "human" and not accepted.by_person)
        day.unanswered += accepted.number if waits else 0
    for opened in happened.opened:
        day = days[of_hour(opened.hour)]
        day.opened += opened.number
        day.by_ai_alone += opened.number if opened.by_ai_alone else 0
    for draft in happened.drafts:
        day = days[of_hour(draft.hour)]
        day.drafts += draft.number
        day.superseded += draft.number if draft.name == "superseded" else 0
    for unsent in happened.undelivered:
        days[of_hour(unsent.hour)].undelivered += unsent.number
    for handed in happened.handed_over:
        days[of_hour((handed.at - span.start) // HOUR_MS)].handed_over += 1
    _add_replies(happened, days, of_hour)
    return days


class _DayOfHour:
    """Days have 23 to 25 hours; in a few zones they begin at half an hour, which is counted to the day before."""

    def __init__(self, starts: Sequence[int], span: Span) -> None:
        self._starts = [(start - span.start) // HOUR_MS for start in starts]

    def __call__(self, hour: int) -> int:
        return max(index for index, start in enumerate(self._starts) if start <= hour)


def _add_replies(happened: Happened, days: Sequence[Day], of_hour: _DayOfHour) -> None:
    tenths: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for reply in happened.replied:
        tenths[of_hour(reply.hour)][max(0, reply.tenths)] += reply.number
    for index, taken in tenths.items():
        days[index].replies = taken.total()
        days[index].reply_p50, days[index].reply_p95 = _quantile(taken, 0.5), _quantile(taken, 0.95)


def _tenths(happened: Happened) -> Counter[int]:
    found: Counter[int] = Counter()
    for reply in happened.replied:
        found[max(0, reply.tenths)] += reply.number
    return found


def _quantile(tenths: Counter[int], share: float) -> float | None:
    """Seconds, to a tenth."""
    left = tenths.total() * share
    for value in sorted(tenths):
        left -= tenths[value]
        if left <= 0:
            return value / 10
    return None


def _handovers(handed: Iterable[HandedOver]) -> Iterator[Handovers]:
    """The most frequent reason first."""
    by_reason: defaultdict[str, list[HandedOver]] = defaultdict(list)
    for one in handed:
        by_reason[one.code].append(one)
    for reason, found in sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0])):
        taken = Counter((one.ended_at - one.at) // 100 for one in found if one.taken and one.ended_at is not None)
        yield Handovers(
            reason=reason, count=len(found), taken=taken.total(),
            waiting=sum(one.ended_at is None for one in found),
            taken_p50=_quantile(taken, 0.5), taken_p95=_quantile(taken, 0.95),
        )  # fmt: skip


def _by_code(happened: Happened) -> Iterator[tuple[str, int]]:
    codes: Counter[str] = Counter()
    for one in happened.undelivered:
        codes[one.name] += one.number
    yield from codes.most_common()
