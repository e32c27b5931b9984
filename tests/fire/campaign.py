"""All scenarios in turns until the time is up: what each round did is added to its scenario's section."""

from __future__ import annotations

import asyncio
import platform
import shutil
import sqlite3
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

from convoq import __version__
from tests.fire.answers import model_faults, twilio_faults
from tests.fire.clocks import clocks
from tests.fire.cuts import cuts
from tests.fire.disks import disks
from tests.fire.harms import HARMS, harms
from tests.fire.kills import kills
from tests.fire.locks import locks
from tests.fire.pauses import pauses
from tests.fire.plan import Plan, Scenario
from tests.fire.report import Section
from tests.fire.restore import restore
from tests.fire.servers import flushes, servers
from tests.fire.storm import storm
from tests.fire.takeovers import takeovers
from tests.fire.timelines import timelines

SCENARIOS: Final[dict[str, Scenario]] = {
    "kills": kills, "pauses": pauses, "twilio": twilio_faults, "model": model_faults, "locks": locks, "disks": disks,
    "clocks": clocks, "storm": storm, "timelines": timelines, "cuts": cuts, "harms": harms, "restore": restore,
    "servers": servers, "flushes": flushes, "takeovers": takeovers,
}  # fmt: skip
ON_ANY: Final = frozenset({"kills", "pauses", "twilio", "model", "storm", "timelines", "takeovers"})
REDIS: Final = ON_ANY | {"servers", "flushes"}
#: What can be done to each engine.
ABLE: Final = {
    "sqlite": SCENARIOS.keys() - {"servers", "flushes"}, "postgres": ON_ANY | {"servers"},
    "redis": REDIS, "redis+postgres": REDIS,
}  # fmt: skip
SHORTEST: Final = 5.0  # seconds; a shorter round is not worth its start


class Turn(NamedTuple):
    scenario: str
    seconds: float


TURNS: Final = (
    Turn("kills", 60), Turn("pauses", 40), Turn("twilio", 30), Turn("kills", 60), Turn("model", 30), Turn("locks", 12),
    Turn("pauses", 40), Turn("kills", 60), Turn("disks", 8), Turn("clocks", 25), Turn("storm", 12),
    Turn("timelines", 24), Turn("takeovers", 60), Turn("cuts", 30), Turn("harms", 30), Turn("restore", 15),
    Turn("servers", 30), Turn("flushes", 20),
)  # fmt: skip


class Campaign:
    """Runs rounds; `sections` is what has come of them so far. The same seed does the same harm at the same moments."""

    def __init__(self, *, seed: int, directory: Path, say: Callable[[str], None], engine: str = "sqlite") -> None:
        self.seed = seed
        self.engine = engine
        self.sections: dict[str, Section] = {}
        self._directory = directory
        self._say = say
        self._numbers: Counter[str] = Counter()

    async def run(self, seconds: float, only: frozenset[str]) -> None:
        """Rounds until `seconds` are over; each scenario at least once."""
        ends = monotonic() + seconds
        for turn in self._turns(only):
            left = ends - monotonic()
            if left < SHORTEST and only <= self.sections.keys():
                return
            await self._round(turn.scenario, max(SHORTEST, min(turn.seconds, left)))

    async def close(self, *, kills: int, cuts: int, harms: bool) -> None:
        """The closing run: so many kills and power cuts (half of them on each filesystem), and each harm in turn."""
        counted = [("kills", kills), ("cuts", cuts - cuts // 2), ("cuts", cuts // 2)]
        if harms:
            counted += [("harms", len(HARMS)), ("restore", 3)]
        for name, number in counted:
            if number:
                await self._round(name, 0.0, harms=number)
        if harms:
            await self._round("clocks", 30.0)

    def head(self) -> list[str]:
        """What the report begins with."""
        return [
            f"convoq {__version__} on {self.engine} under fire, seed {self.seed}",
            f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.platform()}",
            f"problems: {sum(len(section.problems) for section in self.sections.values())}",
        ]

    def _turns(self, only: frozenset[str]) -> Iterator[Turn]:
        return cycle(turn for turn in TURNS if turn.scenario in only)

    async def _round(self, name: str, seconds: float, *, harms: int | None = None) -> None:
        number = self._numbers[name]
        self._numbers[name] += 1
        directory = self._directory / f"{name}-{number}"
        began = monotonic()

        def doing(what: str) -> None:
            self._say(f"{name} {number}: {monotonic() - began:.0f} s, {what}")

        seed = f"{self.seed}/{name}/{number}"
        plan = Plan(seed, seconds, directory, self.engine, number, harms=harms, doing=doing)
        section = await attempt(name, plan)
        doing(f"{len(section.problems)} problems" if section.problems else "the books balance")
        if not section.problems:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        if name in self.sections:
            self.sections[name].add(section)
        else:
            self.sections[name] = section


async def attempt(name: str, plan: Plan) -> Section:
    """One round; whatever comes out of it is in its section."""
    began = monotonic()
    try:
        section = await SCENARIOS[name](plan)
    except Exception:  # noqa: BLE001  # a scenario that breaks is a problem to report, not the end of the others
        section = Section(name, "broken off", problems=[traceback.format_exc()])
    section.seconds = monotonic() - began
    return section


class Ticker:
    """Shows what goes on: on a terminal in one line that changes, elsewhere now and then."""

    def __init__(self, every: float = 15.0) -> None:
        self._every = 0.2 if sys.stderr.isatty() else every
        self._end = "\r" if sys.stderr.isatty() else "\n"
        self._shown = 0.0
        self._round = ""

    def __call__(self, text: str) -> None:
        new = text.partition(":")[0] != self._round
        if new or "problems" in text or "balance" in text or monotonic() - self._shown >= self._every:
            self._round, self._shown = text.partition(":")[0], monotonic()
            with suppress(OSError):
                sys.stderr.write(f"{text:<100}{self._end}")
                sys.stderr.flush()
