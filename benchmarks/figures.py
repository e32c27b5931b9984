"""Every figure, in the order of the report."""

from __future__ import annotations

from typing import Final

from benchmarks import claim_cost, drain, enqueueing, idle, pickup, startup, together, webhooks
from benchmarks.figure import Figure

FIGURES: Final[dict[str, Figure]] = {
    figure.name: figure
    for module in (enqueueing, webhooks, pickup, drain, together, claim_cost, idle, startup)
    for figure in module.FIGURES
}
