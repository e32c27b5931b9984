"""One round of one scenario: how long, from which seed, in which directory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from time import monotonic

from tests.fire.report import Section

SHARED = 8.0  # times as long: the suite runs four tests at once on two cores, each with processes of its own


@dataclass
class Plan:
    """What a scenario is given."""

    seed: str
    seconds: float  #: how long the harm goes on; draining comes on top
    directory: Path  #: of its own
    engine: str = "sqlite"
    number: int = 0  #: of the round; the slower kinds of a scenario come every few rounds
    harms: int | None = None  #: ends with so many of them instead, however long they take
    alone: bool = True  #: nothing else runs on the machine
    done: int = 0  #: harms so far
    doing: Callable[[str], None] = lambda _: None  #: told what goes on
    rng: random.Random = field(init=False)
    began: float = field(init=False, default_factory=monotonic)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def left(self) -> float:
        """Seconds of harm that are left; endless until a given number of harms is reached."""
        if self.harms is not None:
            return inf if self.done < self.harms else 0.0
        return self.began + self.seconds - monotonic()

    def bar(self, seconds: float) -> float:
        """How long something may take that takes at most `seconds` on a machine that has nothing else to do."""
        return seconds if self.alone else seconds * SHARED

    async def wait(self, seconds: float) -> bool:
        """Lets so much time pass, or what is left; whether any is left then."""
        await asyncio.sleep(max(0.0, min(seconds, self.left())))  # the rhythm of the harm
        return self.left() > 0

    def begin(self) -> None:
        """The harm begins now: what came before was preparation."""
        self.began = monotonic()


Scenario = Callable[[Plan], Awaitable[Section]]
