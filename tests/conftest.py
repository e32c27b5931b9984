"""What every test may ask for: a clock turned by hand and an open database; how deep properties are searched; and how
the suite runs: its files side by side, the long ones first.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from convoq.db import Database
from tests.clock import ManualClock
from tests.servers.postgres import migrated_postgres_url as migrated_postgres_url
from tests.servers.postgres import postgres_server as postgres_server
from tests.servers.postgres import postgres_url as postgres_url
from tests.servers.postgres import shared_postgres_url as shared_postgres_url
from tests.servers.redis import redis_server as redis_server
from tests.servers.sqlite import lay_database
from tests.skips import NOT_TO_BE_INSTALLED

# HYPOTHESIS_PROFILE=nightly searches far deeper; a shared machine's pauses must never fail a property.
settings.register_profile("quick", deadline=None)
settings.register_profile("nightly", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

#: Much of the suite waits for processes and deadlines. Three would leave less of the cores unused, but be a crowd for
#: tests that have processes of their own.
WORKERS_PER_CORE = 2


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def database(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Database]:
    database = await Database.open(lay_database(tmp_path / "convoq.db"), clock=clock)
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
def twilio_timeout(request: pytest.FixtureRequest) -> float:
    """Of a request to Twilio, in seconds: whatever answers has the time that a busy machine needs."""
    return 0.5 if request.node.get_closest_marker("hangs") else 10.0


@pytest.fixture
def dead_pid() -> int:
    """Of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


# --- How the suite runs


def pytest_configure() -> None:
    # Where it is set, each of the hundreds of processes that tests start compiles convoq, and each worker all tests.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # Below nohup or in a script's background they are ignored, and so they would be in every process that tests start;
    # a handler is not handed down.
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """The whole suite runs side by side; what is named on the command line in this process, where -s and --pdb work.

    A worker of pytest-xdist runs a file after the other, as collected: what a module shares stays in one process.
    """
    option = config.option
    if hasattr(config, "workerinput") or not config.pluginmanager.has_plugin("xdist") or option.usepdb:
        return
    if option.numprocesses is None and config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        option.numprocesses = WORKERS_PER_CORE * len(os.sched_getaffinity(0))
    if option.numprocesses and option.dist == "no":
        option.dist, option.loadscopereorder = "loadfile", False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files begin first: none is left over when the other workers have nothing more to do."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """A failing test is shown by parsing its file. CPython counts the depth of that in one place for all, so that a
    finalizer which parses meanwhile (it logs a traceback) would make it a SystemError that ends the run.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI everything that tests need is installed: there a skipped test is a hole, not a courtesy."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not os.environ.get("CI") or session.exitstatus != 0:
        return
    if skipped := [one for one in reporter.stats.get("skipped", []) if NOT_TO_BE_INSTALLED not in str(one.longrepr)]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"CI: {len(skipped)} tests were skipped; what they need must be installed", red=True)
