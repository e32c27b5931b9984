"""What every test may ask for: a clock turned by hand and an open database; and how deep properties are searched."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import settings

from convoq.db import Database
from tests.clock import ManualClock
from tests.skips import NOT_TO_BE_INSTALLED

# HYPOTHESIS_PROFILE=nightly searches far deeper; a shared machine's pauses must never fail a property.
settings.register_profile("quick", deadline=None)
settings.register_profile("nightly", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def database(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "convoq.db", clock=clock)
    try:
        yield database
    finally:
        await database.close()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI everything that tests need is installed: there a skipped test is a hole, not a courtesy."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not os.environ.get("CI") or session.exitstatus != 0:
        return
    if skipped := [one for one in reporter.stats.get("skipped", []) if NOT_TO_BE_INSTALLED not in str(one.longrepr)]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"CI: {len(skipped)} tests were skipped; what they need must be installed", red=True)


@pytest.fixture
def dead_pid() -> int:
    """Of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        return process.pid
