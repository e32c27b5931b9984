"""Lets contestants run in turns (A B A B), each in a directory of its own, with a look at the disk before each."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.figure import Contestant, Sample, Series, Setting

PROBES = 40


def interleave(contestants: Sequence[Contestant], setting: Setting) -> Series:
    """As many rounds as the setting asks for; contestants that are missing are left out."""
    series = Series()
    for number in range(1, setting.size.rounds + 1):
        samples: dict[str, Sample] = {}
        for contestant in contestants:
            if contestant.missing is not None:
                continue
            setting.progress(f"round {number}/{setting.size.rounds}: {contestant.name}")
            with scratch(setting.directory) as directory:
                probed = fdatasync_ms(directory)
                samples[contestant.name] = Sample(contestant.run(directory), probed)
        series.rounds.append(samples)
    return series


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """An empty directory on the measured disk, gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="convoq-bench-", dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        # Its blocks go back to the disk now, and not in the middle of the next measurement.
        os.sync()


def fdatasync_ms(directory: Path) -> float:
    """The median time to append 4 KiB durably: tells quiet minutes of a shared disk from busy ones."""
    path = directory / "probe"
    took: list[float] = []
    with path.open("wb", buffering=0) as file:
        for _ in range(PROBES):
            started = time.perf_counter()
            file.write(b"\0" * 4096)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - started)
    path.unlink()
    return median(took) * 1000
