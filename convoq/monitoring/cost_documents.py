"""The JSON documents of what models have cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from convoq.text import iso_time, mask_address

if TYPE_CHECKING:
    from convoq.conversations.costs import CostLine, ReachedBudget


def costs_document(costs: Iterable[CostLine], *, by: str, since: int, full: bool) -> dict[str, Any]:
    """Money is in millionths of the currency. Addresses are masked unless `full`."""
    return {
        "since": iso_time(since),
        "by": by,
        "costs": [
            {
                by: cost_key(line, by, full=full), "requests": line.requests, "input_tokens": line.input_tokens,
                "cached_tokens": line.cached_tokens, "output_tokens": line.output_tokens,
                "cut_off_tokens": line.unheard_tokens, "cost_millionths": line.cost, "currency": line.currency,
                "unpriced_requests": line.unpriced,
            }
            for line in costs
        ],
    }  # fmt: skip


def cost_key(line: CostLine, by: str, *, full: bool) -> str:
    """What the line is for, as it is shown."""
    if by in ("contact", "number"):
        return line.key if full else mask_address(line.key)
    return line.key or "earlier"


def reached_document(budget: ReachedBudget) -> dict[str, Any]:
    return {
        "scope": budget.scope,
        "whose": budget.whose if budget.scope == "contact" else mask_address(budget.whose),
        "period": budget.period,
        "until": iso_time(budget.until),
    }
