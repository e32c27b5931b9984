"""How long `convoq version` takes, and `convoq serve` until it is ready."""

from __future__ import annotations

import asyncio
import compileall
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import convoq
from benchmarks.child import environment
from benchmarks.figure import Bar, Column, Contestant, Figure, Metrics, Outcome, Setting
from benchmarks.rounds import interleave
from benchmarks.site import Site, command

VERSION: Final = "convoq version"
SERVE: Final = "convoq serve, to ready"
PYTHON: Final = "python -c pass"
METHOD: Final = """
Wall time from the start of the process until it ended, or until it told its supervisor that it is ready (on an empty
database that it creates). The median of several starts a round; an empty Python program stands beside them.
"""


def measure(setting: Setting) -> Outcome:
    starts = setting.size.starts
    # As pip does: an environment without bytecode would measure the compiler.
    compileall.compile_dir(Path(convoq.__file__).parent, quiet=1)
    contestants = [
        Contestant(VERSION, "until it ended", partial(_run, [*command(), "version"], starts)),
        Contestant(SERVE, "until READY=1", partial(_serve, starts)),
        Contestant(PYTHON, "until it ended", partial(_run, [sys.executable, "-c", "pass"], starts)),
    ]
    series = interleave(contestants, setting)
    bars = [
        Bar(text="`convoq version`", limit=0.1, unit="s", values=series.values(VERSION, "seconds")),
        Bar(text="`convoq serve`, to ready", limit=0.6, unit="s", values=series.values(SERVE, "seconds")),
    ]
    settings = {contestant.name: contestant.settings for contestant in contestants}
    return Outcome(series, [Column("seconds", "seconds", 3)], bars, settings)


FIGURES: Final = (Figure("startup", "Starting", METHOD, measure),)


def _run(arguments: Sequence[str], starts: int, directory: Path) -> Metrics:
    took: list[float] = []
    for _ in range(starts):
        started = time.perf_counter()
        subprocess.run(arguments, cwd=directory, env=environment(), stdout=subprocess.DEVNULL, check=True)
        took.append(time.perf_counter() - started)
    return {"seconds": median(took)}


def _serve(starts: int, directory: Path) -> Metrics:
    took: list[float] = []
    for number in range(starts):
        place = directory / str(number)
        place.mkdir()
        took.append(asyncio.run(_ready_after(place)))
    return {"seconds": median(took)}


async def _ready_after(directory: Path) -> float:
    async with Site(directory).role("serve") as role:
        return role.ready_after
