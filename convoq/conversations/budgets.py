"""What models may cost: no request begins that could exceed a ceiling, whatever becomes of it and of its worker.

What a request may cost at most is held in the store before it is sent, and exchanged for what it has cost when it has
ended. One whose worker died stays held in full until the conversation's next turn, or the housekeeping, takes it for
lost: then it counts with what its provider may bill.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from convoq.clock import Clock
from convoq.conversations import alarms
from convoq.conversations.ceilings import NOTHING, Amount, BudgetRules, Ceiling, Counter, begin_counting, counters_of
from convoq.conversations.erased import is_being_erased
from convoq.conversations.records import ModelUsage, Turn
from convoq.db.store import Store
from convoq.db.transaction import Transaction

PENDING: Final = "pending"  #: the outcome of a request that is under way
LOST: Final = "lost"  #: of one whose worker died
LONGEST_CALL_MS: Final = 3_600_000  # by then a request under way has no worker any more


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

    @property
    def has_money(self) -> bool:
        """Whether a ceiling is one in money: then no request is sent of which it is not known what it costs."""
        return self._rules.has_money

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

    async def settle_lost(self, limit: int) -> int:
        """Takes requests without a worker for lost; how many."""
        return await self._database.write(settle_lost, self._database.clock.now() - LONGEST_CALL_MS, limit)


def hold(
    tx: Transaction, turn: Turn, call: PlannedCall, rules: BudgetRules, is_first: bool, now: int, wall_now: int
) -> Hold | Reached:
    if is_first:
        _lose(tx, tx.execute(f"{UNRECORDED} AND conversation_id = ?", (turn.conversation.id,)).fetchall())
    counters: list[Counter] = []
    for ceiling, counter, until in counters_of(tx, turn.conversation, rules, wall_now):
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
        "day": rules.day(wall_now).isoformat(), "at": now - usage.duration_ms,
    }  # fmt: skip
    tx.execute(ADD_CALL, values)
    for _, counter, _ in counters_of(tx, turn.conversation, rules, wall_now):
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


def settle_lost(tx: Transaction, before: int, limit: int) -> int:
    lost = tx.execute(f"{UNRECORDED} AND +at < ? LIMIT ?", (before, limit)).fetchall()
    _lose(tx, lost)
    return len(lost)


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
