"""Ceilings of what models may cost, and the counters in which that is added up.

A counter is kept for good: it is less than the requests that it adds up, which are kept too, and no clock that is wrong
can have it forgotten while its period lasts.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from convoq.clock import DAY_MS
from convoq.conversations.persons import OF_PERSON, person_of
from convoq.conversations.records import Conversation
from convoq.db.transaction import Transaction
from convoq.settings import BudgetSettings
from convoq.zones import zone_named

NO_CEILING: Final = 2**60


class Amount(NamedTuple):
    """What requests to models cost."""

    tokens: int
    cost: int  #: millionths of the currency; 0 where the price is not known


NOTHING: Final = Amount(0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The most that one scope may cost in a period."""

    scope: str  #: contact, number
    period: str  #: day, month
    tokens: int | None = None
    cost: int | None = None

    def fits(self, amount: Amount) -> bool:
        return amount.tokens <= self.most.tokens and amount.cost <= self.most.cost

    @property
    def most(self) -> Amount:
        return Amount(
            NO_CEILING if self.tokens is None else self.tokens, NO_CEILING if self.cost is None else self.cost
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetRules:
    """The ceilings, and in which zone their days and months begin."""

    ceilings: tuple[Ceiling, ...] = ()
    currency: str = "USD"
    zone: dt.tzinfo = dt.UTC

    @property
    def has_money(self) -> bool:
        """Whether a ceiling is one in money."""
        return any(ceiling.cost is not None for ceiling in self.ceilings)

    def day(self, wall_now: int) -> dt.date:
        return dt.datetime.fromtimestamp(wall_now / 1000, self.zone).date()


def budget_rules(settings: BudgetSettings) -> BudgetRules:
    """What the settings bound, in the order in which counters are locked: those of many last."""
    ceilings = [
        Ceiling(
            scope=scope, period=period, tokens=getattr(settings, f"tokens_per_{scope}_{period}"),
            cost=_millionths(getattr(settings, f"cost_per_{scope}_{period}")),
        )
        for scope, period in (("contact", "day"), ("number", "day"), ("number", "month"))
    ]  # fmt: skip
    set_ones = tuple(one for one in ceilings if one.tokens is not None or one.cost is not None)
    return BudgetRules(ceilings=set_ones, currency=settings.currency, zone=zone_named(settings.timezone))


def _millionths(amount: Decimal | None) -> int | None:
    return None if amount is None else int(amount * 1_000_000)


class Counter(NamedTuple):
    """Where a scope's spending in a period is counted."""

    period: str  #: "2026-11-26", "2026-11"
    scope: str  #: "contact:7", "number:+15550001111"
    currency: str


def contact_scope(tx: Transaction, contact_id: int) -> str:
    """Of the person who has this contact, by WhatsApp and by SMS."""
    return f"contact:{person_of(tx, contact_id)}"


def _number_scope(our_address: str) -> str:
    """Of a number of ours, for WhatsApp and SMS together."""
    return f"number:{our_address.replace('whatsapp:+', '+')}"


def counters_of(
    tx: Transaction, conversation: Conversation, rules: BudgetRules, wall_now: int
) -> Iterator[tuple[Ceiling, Counter, int]]:
    """Each ceiling with its counter and when the next period begins, in the order in which they are locked."""
    for ceiling in rules.ceilings:
        if ceiling.scope == "contact":
            scope = contact_scope(tx, conversation.contact.id)
        else:
            scope = _number_scope(conversation.our_address)
        period, until = current_period(ceiling.period, rules, wall_now)
        yield ceiling, Counter(period, scope, rules.currency), until


def current_period(name: str, rules: BudgetRules, wall_now: int) -> tuple[str, int]:
    """Which day or month it is, and when the next begins, in ms."""
    today = rules.day(wall_now)
    if name == "day":
        period, following = today.isoformat(), today + dt.timedelta(days=1)
    else:
        period, following = today.strftime("%Y-%m"), (today.replace(day=1) + dt.timedelta(days=32)).replace(day=1)
    return period, _midnight(following, rules)


def _midnight(day: dt.date, rules: BudgetRules) -> int:
    return round(dt.datetime.combine(day, dt.time(), rules.zone).timestamp() * 1000)


def begin_counting(tx: Transaction, rules: BudgetRules, now: int, wall_now: int) -> None:
    for ceiling in rules.ceilings:
        period, _ = current_period(ceiling.period, rules, wall_now)
        first_day = f"{period}-01"[:10]
        begun = _midnight(dt.date.fromisoformat(first_day), rules)
        since = now - (wall_now - begun) - DAY_MS  # the days are exact, the queue's clock is nearly the wall's
        statement = COUNT_CONTACTS if ceiling.scope == "contact" else COUNT_NUMBERS
        tx.execute(statement, (period, rules.currency, since, first_day, rules.currency))


def _count_all(scope: str, kept_by: str, whose: str) -> str:
    """`kept_by`: the column that tells whose a request is; `whose`: from that `kept_by`, as counters name it."""
    return f"""
        INSERT INTO spending (period, scope, currency, tokens, cost)
        SELECT ?, '{scope}:' || whose, ?, sum(tokens), coalesce(sum(cost), 0) FROM (
            SELECT {whose} AS whose, tokens, cost FROM (
                SELECT {kept_by} AS kept_by, sum(c.cost) AS cost,
                    sum(c.input_tokens + c.output_tokens + c.unheard_tokens) AS tokens
                FROM model_calls AS c JOIN conversations AS v ON v.id = c.conversation_id
                JOIN threads AS t ON t.id = v.thread_id
                WHERE c.at >= ? AND c.day >= ? AND c.outcome <> 'pending' AND (c.currency = ? OR c.currency IS NULL)
                GROUP BY {kept_by}) AS calls) AS counted
        GROUP BY whose
        ON CONFLICT (period, scope, currency) DO UPDATE SET tokens = excluded.tokens, cost = excluded.cost
    """


# As contact_scope() and _number_scope() have it.
PERSON: Final = f"(SELECT min(id) FROM ({OF_PERSON.replace('?', 'kept_by')}) AS person)"
COUNT_CONTACTS: Final = _count_all("contact", "t.contact_id", PERSON)
COUNT_NUMBERS: Final = _count_all("number", "t.our_address", "replace(kept_by, 'whatsapp:+', '+')")
