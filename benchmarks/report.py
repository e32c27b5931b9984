"""Puts measured figures into words: a section each, and the whole of docs/performance.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.figure import QUIET_DISK_MS, Bar, Figure, Outcome, Spread

TEMPLATES: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure and what came of it; without an outcome it failed."""

    figure: Figure
    outcome: Outcome | None
    failure: str = ""


def page(measured: Sequence[Measured], *, date: str, facts: Mapping[str, str], load: str, minutes: float) -> str:
    return (
        _templates()
        .get_template("performance.md.j2")
        .render(measured=measured, date=date, facts=facts, load=load, minutes=minutes, quiet=QUIET_DISK_MS)
    )


def section(measured: Measured) -> str:
    """One figure, as it stands in the page."""
    return _templates().get_template("figure.md.j2").render(it=measured)


def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        autoescape=False,
    )  # fmt: skip
    templates.globals.update(cells=_cells, reached=_reached, limit=_limit, verdict=_verdict, disk=_disk)
    return templates


def _cells(outcome: Outcome, name: str) -> list[str]:
    """A contestant's row, a cell for each column."""
    cells = []
    for column in outcome.columns:
        values = outcome.series.values(name, column.metric)
        cells.append(_spread(Spread.of(values), column.digits) if values else "not measured")
    return cells


def _reached(bar: Bar) -> str:
    if not bar.values:
        return "not measured"
    return f"{_spread(Spread.of(bar.values), _digits(bar))} {bar.unit}"


def _limit(bar: Bar) -> str:
    return f"{'at least' if bar.at_least else 'at most'} {bar.limit:,g} {bar.unit}"


def _verdict(bar: Bar, outcome: Outcome) -> str:
    if not bar.values:
        return bar.missing or "not measured"
    busy = bar.quiet_disk and outcome.series.fdatasync_ms().median >= QUIET_DISK_MS
    return f"{'met' if bar.met else '**missed**'}{' (on a busy disk)' if busy else ''}"


def _disk(outcome: Outcome, name: str) -> str:
    return _spread(outcome.series.fdatasync_ms(name), 2)


def _digits(bar: Bar) -> int:
    if bar.limit >= 1000 or bar.unit == "MB":
        return 0
    if bar.unit == "s":
        return 3
    return 1 if bar.limit >= 10 else 2


def _spread(spread: Spread, digits: int) -> str:
    low, middle, high = (f"{value:,.{digits}f}" for value in (spread.low, spread.median, spread.high))
    return middle if low == high else f"{middle} ({low} to {high})"
