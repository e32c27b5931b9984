"""The doctor looks at what answers may cost: whether that is bounded, known, and used up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from convoq.monitoring.findings import Finding, note, ok, warn
from convoq.text import counted

if TYPE_CHECKING:
    from convoq.db.store import Store
    from convoq.settings import Options


def settings(options: Options) -> Iterator[Finding]:
    """Ceilings and prices that say nothing, or are missing."""
    from convoq.ai.prices import PriceList, named_models

    models = named_models(options.ai, options.personas)
    has_agents = any(persona.agent for persona in options.personas)
    for price in options.prices:
        if price.model not in models and not has_agents:
            yield note("prices", f'"{price.model}" has one, and nothing asks it', "take it out of [[prices]]")
    prices = PriceList(options.prices, options.budgets.currency)
    for model in models:
        if prices.of(model) is None and not options.budgets.has_money:  # else the worker needs it
            detail = f'what "{model}" costs is not known: convoq costs counts its tokens alone'
            yield note("prices", detail, "add it to [[prices]]")


async def reached(database: Store, options: Options) -> list[Finding]:
    """Ceilings that hold something back."""
    from convoq.clock import WallClock
    from convoq.conversations.ceilings import budget_rules
    from convoq.conversations.costs import read_reached
    from convoq.monitoring.snapshot import describe_budget

    rules = budget_rules(options.budgets)
    if not rules.ceilings:
        return [note("budgets", "none is set: what answers may cost is not bounded", "set [budgets]: docs/costs.md")]
    found = await read_reached(database, rules, WallClock().now())
    if not found:
        return [ok("budgets", f"{counted(len(rules.ceilings), 'ceiling')}, none is reached")]
    people = [one for one in found if one.scope == "contact"]
    lines = [f"{counted(len(people), 'contact')}: {describe_budget(people[0])}"] if people else []
    lines += [describe_budget(one) for one in found if one.scope != "contact"]
    fix = "convoq costs tells what for; to raise it: [budgets], then restart convoq work"
    return [warn("budgets", line, fix) for line in lines]
