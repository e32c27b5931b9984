"""Every figure, in the order of the report."""

from __future__ import annotations

from typing import Final

from benchmarks import (
    claim_cost,
    drain,
    enqueueing,
    growth,
    idle,
    large_file,
    pickup,
    startup,
    together,
    turns,
    webhooks,
    workers,
)
from benchmarks.engines import figures as engines
from benchmarks.figure import Figure

FIGURES: Final[dict[str, Figure]] = {
    figure.name: figure
    for module in (
        *(enqueueing, webhooks, pickup, drain, workers, together, turns),
        *(claim_cost, growth, large_file, idle, startup, engines),
    )
    for figure in module.FIGURES
}
