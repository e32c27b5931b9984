"""What models have cost, and which ceilings hold something back. Reads only."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, NamedTuple

from convoq.conversations.ceilings import BudgetRules, current_period
from convoq.db.store import Store
from convoq.db.transaction import Transaction

MOST_REACHED: Final = 1000


class CostsBy(enum.StrEnum):
    """What costs are added up by."""

    DAY = "day"
    NUMBER = "number"  #: of ours, by WhatsApp and by SMS
    CONTACT = "contact"  #: the person, by both
    MODEL = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """What the requests with one key have cost."""

    key: str
    requests: int
    input_tokens: int
    cached_tokens: int  #: of the input, that the provider had in its cache
    output_tokens: int
    unheard_tokens: int  #: that may have been written, and billed, for requests that were cut off
    cost: int  #: millionths of the currency, of those whose price was known
    unpriced: int  #: requests with tokens whose price was not
    currency: str | None  #: None: no price was known


class ReachedBudget(NamedTuple):
    """A ceiling that holds something back."""

    scope: str  #: contact, number
    whose: str  #: the contact's id, or the address of ours
    period: str  #: day, month
    until: int  #: ms on the wall clock


async def read_costs(database: Store, by: CostsBy, since: int) -> list[CostLine]:
    """`since` is ms on the queue's clock; days oldest first, else the dearest first."""
    return await database.read(costs, by, since)


async def read_reached(database: Store, rules: BudgetRules, wall_now: int) -> list[ReachedBudget]:
    """Of those that are set."""
    return await database.read(reached, rules, wall_now) if rules.ceilings else []


def costs(tx: Transaction, by: CostsBy, since: int) -> list[CostLine]:
    found = [
        CostLine(
            key=key, requests=int(requests), input_tokens=int(sent), cached_tokens=int(cached),
            output_tokens=int(written), unheard_tokens=int(unheard), cost=int(cost), unpriced=int(unpriced),
            currency=currency,
        )
        for key, requests, sent, cached, written, unheard, cost, unpriced, currency in tx.execute(COSTS[by], (since,))
    ]  # fmt: skip
    return found if by is CostsBy.DAY else sorted(found, key=_dearest_first)


def _dearest_first(line: CostLine) -> tuple[int, int, str]:
    return -line.cost, -(line.input_tokens + line.output_tokens + line.unheard_tokens), line.key


def reached(tx: Transaction, rules: BudgetRules, wall_now: int) -> list[ReachedBudget]:
    found: list[ReachedBudget] = []
    for ceiling in rules.ceilings:
        period, until = current_period(ceiling.period, rules, wall_now)
        kind = f"{ceiling.scope}:"
        scopes = tx.execute(REACHED, (period, kind, f"{kind}~", rules.currency, MOST_REACHED))
        found += [ReachedBudget(ceiling.scope, scope[len(kind) :], ceiling.period, until) for (scope,) in scopes]
    return found


REACHED: Final = """
    SELECT scope FROM spending WHERE refused = 1 AND period = ? AND scope > ? AND scope < ? AND currency = ?
    ORDER BY scope LIMIT ?
"""
_THREAD: Final = """
    JOIN conversations AS v ON v.id = c.conversation_id JOIN threads AS t ON t.id = v.thread_id"""
_CONTACT: Final = f"{_THREAD} JOIN contacts AS p ON p.id = t.contact_id"


def _costs(key: str, joined: str = "") -> str:
    return f"""
        SELECT {key}, count(*), sum(c.input_tokens), sum(c.cached_tokens), sum(c.output_tokens), sum(c.unheard_tokens),
            coalesce(sum(c.cost), 0),
            sum(CASE WHEN c.cost IS NULL AND c.input_tokens + c.output_tokens + c.unheard_tokens > 0
                THEN 1 ELSE 0 END),
            max(c.currency)
        FROM model_calls AS c{joined} WHERE c.at >= ?
        GROUP BY {key}, coalesce(c.currency, '') ORDER BY {key}
    """


COSTS: Final = {
    CostsBy.DAY: _costs("c.day"),
    CostsBy.MODEL: _costs("c.model"),
    CostsBy.NUMBER: _costs("replace(t.our_address, 'whatsapp:+', '+')", _THREAD),
    CostsBy.CONTACT: _costs("replace(p.address, 'whatsapp:+', '+')", _CONTACT),
}
