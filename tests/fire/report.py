"""What a scenario did and saw: counts, times, explained events and, above all, problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass
class Section:
    """One scenario's share of the report; rounds of the same scenario are added up."""

    name: str
    title: str
    rounds: int = 1
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    highest: dict[str, float] = field(default_factory=dict)  #: figures of which the worst round counts
    times: dict[str, list[float]] = field(default_factory=dict)  #: seconds
    warnings: Counter[str] = field(default_factory=Counter)
    explained: dict[str, str] = field(default_factory=dict)  #: an event above warning, and why it is there
    problems: list[str] = field(default_factory=list)
    skipped: str | None = None

    def count(self, name: str, amount: int = 1) -> None:
        self.counts[name] += amount

    def time(self, name: str, seconds: float) -> None:
        self.times.setdefault(name, []).append(seconds)

    def worst(self, name: str, value: float) -> None:
        self.highest[name] = max(value, self.highest.get(name, value))

    def expect(self, holds: bool, problem: str) -> None:
        """What does not hold is a problem."""
        if not holds:
            self.problems.append(problem)

    def add(self, other: Section) -> None:
        """Takes another round of the same scenario in."""
        self.rounds += other.rounds
        self.seconds += other.seconds
        self.counts.update(other.counts)
        self.warnings.update(other.warnings)
        self.explained |= other.explained
        self.problems += other.problems
        self.skipped = other.skipped
        for name, value in other.highest.items():
            self.worst(name, value)
        for name, values in other.times.items():
            self.times.setdefault(name, []).extend(values)


def render(sections: Iterable[Section], head: Sequence[str]) -> str:
    """The report as plain text."""
    parts = ["\n".join(head), *(_section(section) for section in sections)]
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> str:
    title = f"{section.name}: {section.title}"
    if section.skipped is not None:
        return f"{title}\n  skipped: {section.skipped}"
    lines = [f"{title} ({section.rounds} rounds, {section.seconds:.0f} s)"]
    lines += [f"  {name:<44}{amount:>9}" for name, amount in section.counts.items()]
    lines += [f"  {name:<44}{value:>9.1f}" for name, value in section.highest.items()]
    lines += [f"  {name:<44}{_spread(values)}" for name, values in section.times.items()]
    if section.warnings:
        seen = ", ".join(f"{event} {amount}" for event, amount in sorted(section.warnings.items()))
        lines.append(f"  warnings: {seen}")
    lines += [f"  explained: {event}: {why}" for event, why in section.explained.items()]
    lines += [f"  PROBLEM: {problem}" for problem in section.problems] or ["  the books balance"]
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return (
        f"p50 {quantile(values, 0.5):.2f}  p99 {quantile(values, 0.99):.2f}  max {max(values):.2f} s (n={len(values)})"
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
