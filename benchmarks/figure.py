"""What a figure is: contestants measured side by side in rounds, and the bars that their numbers have to reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

QUIET_DISK_MS = 1.0  # a disk whose fdatasync takes longer than this serves other programs as well

Metrics = dict[str, float]
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured. Seconds are those of one contestant in one round."""

    rounds: int = 5
    enqueue_seconds: float = 2.0
    webhook_seconds: float = 3.0
    pickups: int = 100  #: a round
    drained: int = 20_000  #: jobs a round
    drained_by_peers: int = 4_000
    together_seconds: float = 4.0
    many_jobs: int = 1_000_000
    few_jobs: int = 1_000
    held_jobs: int = 50_000
    claims: int = 200  #: a round, of eight conversations each
    settle_seconds: float = 5.0
    idle_rounds: int = 3
    idle_seconds: float = 20.0
    turns: int = 30  #: answered before the memory is read
    timed_turns: int = 200  #: a round
    drained_turns: int = 1_000  #: a round
    turns_in_flight: int = 1_000
    model_seconds: float = 5.0  #: what a slow model takes
    starts: int = 5  #: a round
    stored_messages: int = 1_000_000  #: in the large file
    few_messages: int = 10_000  #: in a file that it is held against
    waves: int = 20  #: of jobs that take a while, for each slot
    engines: frozenset[str] = frozenset({"sqlite", "postgres", "redis", "redis+postgres"})  #: that are measured


QUICK = Size(
    rounds=1,
    enqueue_seconds=0.2,
    webhook_seconds=0.3,
    pickups=5,
    drained=300,
    drained_by_peers=200,
    together_seconds=0.5,
    many_jobs=3_000,
    few_jobs=100,
    held_jobs=500,
    claims=5,
    settle_seconds=0.1,
    idle_rounds=1,
    idle_seconds=0.3,
    turns=3,
    timed_turns=5,
    drained_turns=20,
    turns_in_flight=20,
    model_seconds=0.2,
    starts=1,
    stored_messages=2_000,
    few_messages=100,
    waves=1,
    engines=frozenset({"sqlite", "postgres"}),
)


class Setting(NamedTuple):
    """Where and how much a figure measures, and whom it tells how far it is."""

    size: Size
    directory: Path
    progress: Progress


@dataclass(frozen=True, slots=True)
class Contestant:
    """What is measured. `run` gets an empty directory; `missing` says why it cannot take part."""

    name: str
    settings: str
    run: Callable[[Path], Metrics]
    missing: str | None = None


class Sample(NamedTuple):
    """What one contestant reached in one round, and how quick the disk was just before it."""

    metrics: Mapping[str, float]
    fdatasync_ms: float


class Spread(NamedTuple):
    """The median of the rounds with the worst and the best of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(median(values), min(values), max(values))


@dataclass(slots=True)
class Series:
    """Rounds of samples by contestant."""

    rounds: list[dict[str, Sample]] = field(default_factory=list)

    def names(self) -> list[str]:
        return list(self.rounds[0]) if self.rounds else []

    def values(self, name: str, metric: str) -> list[float]:
        """One for each round; empty when that contestant did not take part."""
        return [samples[name].metrics[metric] for samples in self.rounds if name in samples]

    def ratios(self, metric: str, name: str, to: str, *, times: float = 1.0) -> list[float]:
        """Each within its own round, so that a noisy minute strikes both sides."""
        pairs = zip(self.values(name, metric), self.values(to, metric), strict=False)
        return [times * one / other for one, other in pairs]

    def differences(self, metric: str, name: str, to: str) -> list[float]:
        pairs = zip(self.values(name, metric), self.values(to, metric), strict=False)
        return [one - other for one, other in pairs]

    def fdatasync_ms(self, name: str | None = None) -> Spread:
        """How quick the disk was before that contestant's turns, or before all."""
        return Spread.of(
            [
                sample.fdatasync_ms
                for samples in self.rounds
                for contestant, sample in samples.items()
                if name in (None, contestant)
            ]
        )


class Column(NamedTuple):
    """A metric as the tables show it."""

    metric: str
    title: str
    digits: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A limit, and what each round reached. Without values it was not measured, for the reason `missing`."""

    text: str
    limit: float
    unit: str
    values: Sequence[float]
    at_least: bool = False
    quiet_disk: bool = False  #: the limit is for a disk that serves no other program: a busy one helps or hurts
    missing: str | None = None

    @property
    def met(self) -> bool:
        reached = median(self.values) if self.values else None
        return reached is not None and (reached >= self.limit if self.at_least else reached <= self.limit)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A figure's numbers."""

    series: Series
    columns: Sequence[Column]
    bars: Sequence[Bar]
    settings: Mapping[str, str]  #: of each contestant, also of those who are missing


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: what it tells, how it is measured, and the function that does."""

    name: str
    title: str
    method: str
    measure: Callable[[Setting], Outcome]
