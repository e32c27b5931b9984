"""What a turn's requests to models cost: held before they are sent, recorded when they have ended."""

from __future__ import annotations

import asyncio
from typing import Final

from convoq.ai.base import BudgetReached, CallBound, ModelCall
from convoq.ai.prices import PriceList
from convoq.conversations.budgets import Budgets, Hold, PlannedCall, Reached
from convoq.conversations.ceilings import Amount
from convoq.conversations.records import ModelUsage, Turn
from convoq.errors import Unrecoverable
from convoq.logs import log

IN_USE_PAUSE: Final = 0.25  # seconds between two looks at whether requests under way have left enough
MOST_LOOKS: Final = 8
IN_USE_DELAY: Final = 2.0  # seconds until a turn tries again that has waited so long
REACHED_PAUSE: Final = 600.0  # seconds: ceilings are raised, too


class Costs:
    """What all turns of a worker share."""

    def __init__(self, budgets: Budgets, prices: PriceList) -> None:
        self.budgets = budgets
        self.prices = prices
        self._unpriced: set[str] = set()
        self._reached: set[tuple[str, str]] = set()

    def say_unpriced(self, model: str) -> None:
        """Once: only its tokens are counted."""
        if model not in self._unpriced:
            self._unpriced.add(model)
            log.warning("model.unpriced", model=model, currency=self.prices.currency)

    def say_reached(self, reached: Reached) -> None:
        """Once a scope and period."""
        key = (reached.counter.scope, reached.counter.period)
        if key not in self._reached:
            self._reached.add(key)
            log.warning("budget.reached", scope=reached.counter.scope, period=reached.counter.period)


def unpriced(model: str, currency: str) -> str:
    """Why it must not be asked: an agent inside a tool may have it, which no look at the settings shows."""
    remedy = f"Give it a price in {currency} in [[prices]]; 0 where it costs nothing"
    return f'what "{model}" costs is not known, so no ceiling in money ([budgets]) can hold. {remedy}'


class TurnCosts:
    """Of one turn. Both methods are handed to its responder."""

    def __init__(self, costs: Costs, turn: Turn) -> None:
        self._costs = costs
        self._turn = turn
        self._holds: dict[int, Hold] = {}
        self._has_begun = False

    async def hold(self, bound: CallBound) -> int | None:
        """The id of what is held. Raises BudgetReached; Unrecoverable where no ceiling in money could hold."""
        call = self._planned(bound)
        if call.cost is None and self._costs.budgets.has_money:
            raise Unrecoverable(unpriced(call.model, self._costs.prices.currency))
        held = await self._try_to_hold(call)
        looks = 1
        while isinstance(held, Reached) and held.in_use and looks < MOST_LOOKS:
            await asyncio.sleep(IN_USE_PAUSE)
            held = await self._try_to_hold(call)
            looks += 1
        if isinstance(held, Reached):
            raise self._refusal(held)
        self._holds[held.call_id] = held
        return held.call_id

    async def _try_to_hold(self, call: PlannedCall) -> Hold | Reached:
        held = await self._costs.budgets.hold(self._turn, call, is_first=not self._has_begun)
        self._has_begun = True
        return held

    def _refusal(self, reached: Reached) -> BudgetReached:
        day = self._costs.budgets.day()
        if reached.in_use:
            return BudgetReached(IN_USE_DELAY, "what is under way holds the rest of [budgets]", used_up=False, day=day)
        self._costs.say_reached(reached)
        return BudgetReached(min(REACHED_PAUSE, reached.left), str(reached), used_up=True, day=day)

    async def record(self, call: ModelCall) -> None:
        price = self._costs.prices.of(call.model)
        sent, written = call.input_tokens, call.output_tokens + call.unheard_tokens
        cost = 0 if price is None and not (sent or written) else None
        if price is not None:
            cost = price.cost(input_tokens=sent, cached_tokens=call.cached_tokens, output_tokens=written)
        elif cost is None:
            self._costs.say_unpriced(call.model)
        usage = ModelUsage(
            model=call.model,
            outcome=call.outcome,
            input_tokens=sent,
            output_tokens=call.output_tokens,
            duration_ms=call.duration_ms,
            error=call.error,
            is_billed=call.is_billed,
            cached_tokens=call.cached_tokens,
            unheard_tokens=call.unheard_tokens,
            assumed_tokens=call.assumed_tokens,
            cost=cost,
        )
        await self._costs.budgets.record(self._turn, usage, self._holds.get(call.hold or 0))

    def _planned(self, bound: CallBound) -> PlannedCall:
        price = self._costs.prices.of(bound.model)
        cost, most = None, 0
        if price is not None:
            cost = price.cost(input_tokens=bound.input_tokens, output_tokens=bound.output_tokens)
            most = price.cost(input_tokens=bound.most_input_tokens, output_tokens=bound.output_tokens)
        return PlannedCall(
            model=bound.model,
            input_tokens=bound.input_tokens,
            output_tokens=bound.output_tokens,
            cost=cost,
            most=Amount(bound.most_input_tokens + bound.output_tokens, most),
        )
