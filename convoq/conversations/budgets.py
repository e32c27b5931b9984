"""What models may cost: no request begins that could exceed a ceiling, whatever becomes of it and of its worker.

What a request may cost at most is held in the store before it is sent, and exchanged for what it has cost when it has
ended. One whose worker died stays held in full until the conversation's next turn, or the housekeeping, takes it for
lost: then it counts with what its provider may bill.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, NamedTuple

from convoq.clock import DAY_MS, Clock
from convoq.conversations import alarms
from convoq.conversations.erased import is_being_erased
from convoq.conversations.records import Conversation, ModelUsage, Turn
from convoq.db.store import Store
from convoq.db.transaction import Transaction
from convoq.settings import BudgetSettings
from convoq.zones import zone_named

PENDING: Final = "pending"  #: the outcome of a request that is under way
LOST: Final = "lost"  #: of one whose worker died
NO_CEILING: Final = 2**60
LONGEST_CALL_MS: Final = 3_600_000  # by then a request under way has no worker any more


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCall:
    """A request that is to be sent."""

    model: str
    input_tokens: int  #: as estimated
    output_tokens: int  #: that it may write
    cost: int | None  #: of both, in millionths; None: its price is not known
    most: Amount  #: that it may cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What is held for a request under way, until it is recorded."""

    call_id: int
    amount: Amount
    counters: tuple[Counter, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Why a request must not be sent now."""

    ceiling: Ceiling
    counter: Counter
    left: float  #: seconds until its next period begins
    in_use: bool  #: what others have under way may leave enough

    def __str__(self) -> str:
        whose = "this person" if self.ceiling.scope == "contact" else "this number"
        when = "today" if self.ceiling.period == "day" else "this month"
        return f"what {whose} may cost {when} is used up ([budgets])"


class Budgets:
    """Every method is one transaction that a power cut may take back."""

    def __init__(self, database: Store, wall: Clock, rules: BudgetRules) -> None:
        self._database = database
        self._wall = wall
        self._rules = rules

    @property
    def currency(self) -> str:
        return self._rules.currency

    @property
    def are_set(self) -> bool:
        return bool(self._rules.ceilings)

    def day(self) -> str:
        """Today, in the budgets' zone."""
        return self._rules.day(self._wall.now()).isoformat()

    async def hold(self, turn: Turn, call: PlannedCall, *, is_first: bool) -> Hold | Reached:
        """Before a request is sent. With the turn's first one, those of earlier turns of its conversation that are
        not recorded are lost."""
        now, wall_now = self._database.clock.now(), self._wall.now()
        return await self._database.write(hold, turn, call, self._rules, is_first, now, wall_now, durable=False)

    async def record(self, turn: Turn, usage: ModelUsage, held: Hold | None) -> None:
        """What one request has cost. Never refused: it was paid for, whichever worker holds the claim."""
        now, wall_now = self._database.clock.now(), self._wall.now()
        await self._database.write(record, turn, usage, held, self._rules, now, wall_now, durable=False)

    async def begin_counting(self) -> None:
        """Ceilings count what their period has cost, also while they were not in force, or not known to a worker."""
        if self._rules.ceilings:
            now, wall_now = self._database.clock.now(), self._wall.now()
            await self._database.write(begin_counting, self._rules, now, wall_now)

    async def tidy(self, limit: int) -> int:
        """Takes requests without a worker for lost, and forgets counters of periods that are long over; how many."""
        now, wall_now = self._database.clock.now(), self._wall.now()
        oldest = (self._rules.day(wall_now).replace(day=1) - dt.timedelta(days=1)).strftime("%Y-%m")
        return await self._database.write(tidy, now - LONGEST_CALL_MS, oldest, limit)


def hold(
    tx: Transaction, turn: Turn, call: PlannedCall, rules: BudgetRules, is_first: bool, now: int, wall_now: int
) -> Hold | Reached:
    if is_first:
        _lose(tx, tx.execute(f"{UNRECORDED} AND conversation_id = ?", (turn.conversation.id,)).fetchall())
    counters: list[Counter] = []
    for ceiling, counter, until in _counters(turn.conversation, rules, wall_now):
        if not _add_hold(tx, ceiling, counter, call.most):
            for other in counters:
                _settle(tx, other, call.most, NOTHING)
            if not (in_use := _refused(tx, ceiling, counter, call)):
                alarms.budget_reached(tx, counter, turn.conversation.id, until, now)
            return Reached(ceiling=ceiling, counter=counter, left=(until - wall_now) / 1000, in_use=in_use)
        counters.append(counter)
    values = {
        "conversation": turn.conversation.id, "through": turn.through, "model": call.model, "outcome": PENDING,
        "input": call.input_tokens, "unheard": call.output_tokens, "cost": call.cost, "currency": rules.currency,
        "day": rules.day(wall_now).isoformat(), "held_tokens": call.most.tokens, "held_cost": call.most.cost,
        "held_in": "\n".join(f"{one.period} {one.scope}" for one in counters), "at": now,
    }  # fmt: skip
    (call_id,) = tx.execute(ADD_PENDING, values).fetchone()
    return Hold(call_id=call_id, amount=call.most, counters=tuple(counters))


def _counters(conversation: Conversation, rules: BudgetRules, wall_now: int) -> Iterator[tuple[Ceiling, Counter, int]]:
    """Each ceiling with its counter and when the next period begins, in the order in which they are locked."""
    for ceiling in rules.ceilings:
        whose = conversation.contact.id if ceiling.scope == "contact" else conversation.our_address
        period, until = current_period(ceiling.period, rules, wall_now)
        yield ceiling, Counter(period, f"{ceiling.scope}:{whose}", rules.currency), until


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


def _add_hold(tx: Transaction, ceiling: Ceiling, counter: Counter, amount: Amount) -> bool:
    if not ceiling.fits(amount):
        return False
    return bool(tx.execute(ADD_HOLD, (*counter, *amount, *ceiling.most)).rowcount)


def _refused(tx: Transaction, ceiling: Ceiling, counter: Counter, call: PlannedCall) -> bool:
    """Whether it would fit without what is only held; else the counter shows that it holds something back."""
    found = tx.execute(f"SELECT tokens, cost FROM spending WHERE {COUNTER}", counter).fetchone()
    spent = Amount(*found) if found else NOTHING
    if ceiling.fits(Amount(spent.tokens + call.most.tokens, spent.cost + call.most.cost)):
        return True
    tx.execute(SET_REFUSED, counter)
    return False


def record(
    tx: Transaction, turn: Turn, usage: ModelUsage, held: Hold | None, rules: BudgetRules, now: int, wall_now: int
) -> None:
    if usage.error is not None and is_being_erased(tx, turn.conversation.contact.id):
        usage = replace(usage, error=None)  # it may quote the person
    alarms.model_asked(tx, usage.model, usage.outcome, now)
    if held is None:
        _add(tx, turn, usage, rules, now, wall_now)
    else:
        _exchange(tx, usage, held)
    if usage.is_billed:
        tx.executemany(
            "UPDATE messages SET requests = requests + 1, output_tokens = output_tokens + ? WHERE id = ?",
            [(usage.output_tokens + usage.assumed_tokens, message.id) for message in turn.shown],
        )


def _add(tx: Transaction, turn: Turn, usage: ModelUsage, rules: BudgetRules, now: int, wall_now: int) -> None:
    values = _values(usage) | {
        "conversation": turn.conversation.id, "through": turn.through, "currency": rules.currency,
        "day": rules.day(wall_now).isoformat(), "at": now,
    }  # fmt: skip
    tx.execute(ADD_CALL, values)
    for _, counter, _ in _counters(turn.conversation, rules, wall_now):
        _count(tx, counter, _amount(usage))


def _exchange(tx: Transaction, usage: ModelUsage, held: Hold) -> None:
    """What is held for what it has cost; where it was taken for lost meanwhile, that is corrected."""
    before = tx.execute(CALL, (held.call_id,)).fetchone()
    if before is None:
        return
    outcome, *counted = before
    tx.execute(SET_CALL, _values(usage) | {"id": held.call_id})
    actual = _amount(usage)
    for counter in held.counters:
        if outcome == PENDING:
            _settle(tx, counter, held.amount, actual)
        else:
            _settle(tx, counter, NOTHING, Amount(actual.tokens - counted[0], actual.cost - counted[1]))


def _values(usage: ModelUsage) -> dict[str, object]:
    return {
        "model": usage.model, "outcome": usage.outcome, "input": usage.input_tokens, "cached": usage.cached_tokens,
        "output": usage.output_tokens, "unheard": usage.unheard_tokens, "cost": usage.cost,
        "duration": usage.duration_ms, "error": usage.error,
    }  # fmt: skip


def _amount(usage: ModelUsage) -> Amount:
    return Amount(usage.input_tokens + usage.output_tokens + usage.unheard_tokens, usage.cost or 0)


def _settle(tx: Transaction, counter: Counter, held: Amount, spent: Amount) -> None:
    tx.execute(SETTLE, (spent.tokens, held.tokens, spent.cost, held.cost, *counter))


def _count(tx: Transaction, counter: Counter, spent: Amount) -> None:
    tx.execute(COUNT, (*counter, *spent))


def _lose(tx: Transaction, calls: Sequence[tuple[int, str, str, int, int, int, int]]) -> None:
    """What they have cost stays unknown: they count with what their providers may bill."""
    for call_id, currency, held_in, tokens, cost, held_tokens, held_cost in calls:
        for line in held_in.splitlines():
            period, _, scope = line.partition(" ")
            _settle(tx, Counter(period, scope, currency), Amount(held_tokens, held_cost), Amount(tokens, cost))
        tx.execute(SET_LOST, (call_id,))


def begin_counting(tx: Transaction, rules: BudgetRules, now: int, wall_now: int) -> None:
    for ceiling in rules.ceilings:
        period, _ = current_period(ceiling.period, rules, wall_now)
        first_day = f"{period}-01"[:10]
        begun = _midnight(dt.date.fromisoformat(first_day), rules)
        since = now - (wall_now - begun) - DAY_MS  # the days are exact, the queue's clock is nearly the wall's
        statement = COUNT_CONTACTS if ceiling.scope == "contact" else COUNT_NUMBERS
        tx.execute(statement, (period, rules.currency, since, first_day, rules.currency))


def tidy(tx: Transaction, before: int, oldest: str, limit: int) -> int:
    lost = tx.execute(f"{UNRECORDED} AND +at < ? LIMIT ?", (before, limit)).fetchall()
    _lose(tx, lost)
    return len(lost) + tx.execute(FORGET, (oldest, limit)).rowcount


COUNTER: Final = "period = ? AND scope = ? AND currency = ?"
ADD_HOLD: Final = """
    INSERT INTO spending AS s (period, scope, currency, tokens_held, cost_held) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (period, scope, currency) DO UPDATE
    SET tokens_held = s.tokens_held + excluded.tokens_held, cost_held = s.cost_held + excluded.cost_held, refused = 0
    WHERE s.tokens + s.tokens_held + excluded.tokens_held <= ? AND s.cost + s.cost_held + excluded.cost_held <= ?
"""
SETTLE: Final = f"""
    UPDATE spending SET tokens = tokens + ?, tokens_held = tokens_held - ?, cost = cost + ?, cost_held = cost_held - ?
    WHERE {COUNTER}
"""
COUNT: Final = """
    INSERT INTO spending AS s (period, scope, currency, tokens, cost) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (period, scope, currency) DO UPDATE
    SET tokens = s.tokens + excluded.tokens, cost = s.cost + excluded.cost
"""
SET_REFUSED: Final = """
    INSERT INTO spending (period, scope, currency, refused) VALUES (?, ?, ?, 1)
    ON CONFLICT (period, scope, currency) DO UPDATE SET refused = 1
"""
FORGET: Final = """
    DELETE FROM spending WHERE (period, scope, currency) IN
        (SELECT period, scope, currency FROM spending WHERE period < ? ORDER BY period LIMIT ?)
"""
ADD_PENDING: Final = """
    INSERT INTO model_calls (conversation_id, through_id, model, outcome, input_tokens, output_tokens, unheard_tokens,
        duration_ms, cost, currency, day, held_tokens, held_cost, held_in, at)
    VALUES (:conversation, :through, :model, :outcome, :input, 0, :unheard, 0, :cost, :currency, :day, :held_tokens,
        :held_cost, :held_in, :at)
    RETURNING id
"""
ADD_CALL: Final = """
    INSERT INTO model_calls (conversation_id, through_id, model, outcome, input_tokens, cached_tokens, output_tokens,
        unheard_tokens, duration_ms, error, cost, currency, day, at)
    VALUES (:conversation, :through, :model, :outcome, :input, :cached, :output, :unheard, :duration, :error, :cost,
        :currency, :day, :at)
"""
CALL: Final = """
    SELECT outcome, input_tokens + output_tokens + unheard_tokens, coalesce(cost, 0) FROM model_calls WHERE id = ?
"""
SET_CALL: Final = """
    UPDATE model_calls SET model = :model, outcome = :outcome, input_tokens = :input, cached_tokens = :cached,
        output_tokens = :output, unheard_tokens = :unheard, duration_ms = :duration, error = :error, cost = :cost,
        held_tokens = 0, held_cost = 0, held_in = NULL
    WHERE id = :id
"""
UNRECORDED: Final = f"""
    SELECT id, currency, held_in, input_tokens + unheard_tokens, coalesce(cost, 0), held_tokens, held_cost
    FROM model_calls WHERE outcome = '{PENDING}'
"""
SET_LOST: Final = f"""
    UPDATE model_calls SET outcome = '{LOST}', error = 'its worker ended before it did', held_tokens = 0,
        held_cost = 0, held_in = NULL
    WHERE id = ?
"""


def _count_all(whose: str, scope: str) -> str:
    return f"""
        INSERT INTO spending (period, scope, currency, tokens, cost)
        SELECT ?, '{scope}:' || {whose}, ?, sum(c.input_tokens + c.output_tokens + c.unheard_tokens),
            coalesce(sum(c.cost), 0)
        FROM model_calls AS c JOIN conversations AS v ON v.id = c.conversation_id
        JOIN threads AS t ON t.id = v.thread_id
        WHERE c.at >= ? AND c.day >= ? AND c.outcome <> 'pending' AND (c.currency = ? OR c.currency IS NULL)
        GROUP BY {whose}
        ON CONFLICT (period, scope, currency) DO UPDATE SET tokens = excluded.tokens, cost = excluded.cost
    """


COUNT_CONTACTS: Final = _count_all("t.contact_id", "contact")
COUNT_NUMBERS: Final = _count_all("t.our_address", "number")
