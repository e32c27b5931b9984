"""How a role starts: with what it needs and nothing else, and what its start leaves behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from convoq.daemon.startup import OPTIONAL_OF_STRUCTLOG, started, starting
from tests.process.harness import Process, Site

WORKERS = {"convoq.ai", "convoq.channels.twilio.channel", "convoq.conversations", "convoq.handlers", "convoq.worker"}
NEVER = {"convoq.dev", "jinja2", "playwright", "requests", "unittest", "urllib3"}
MODELS = {"anthropic", "httpx2", "openai", "pydantic_ai"}

FOREIGN = {
    "serve": NEVER | MODELS | WORKERS | {"convoq.scheduler", "cronsim", "regex", "twilio"},
    "schedule": NEVER | MODELS | WORKERS | {"aiohttp", "convoq.api", "cronsim", "regex", "twilio"},
    "work": (NEVER | MODELS | {"convoq.api", "convoq.scheduler"}) - {"requests", "urllib3"},
}

OBSERVER = """
import its_library

class Plugin:
    def new_schema_validator(self, *_):
        return None, None, None

plugin = Plugin()
"""


@pytest.mark.process
@pytest.mark.parametrize("role", ["serve", "schedule", "work"])
async def test_a_role_says_where_its_settings_and_its_database_lie(role: str, site: Site) -> None:
    elsewhere = site.directory / "etc"
    elsewhere.mkdir()
    (elsewhere / "convoq.toml").write_text("")
    del site.settings["CONVOQ_DATABASE__PATH"]

    process = await site.start(role, "--config", "etc/convoq.toml")
    await site.until(lambda: any(line["event"] == "role.started" for line in process.events), "the role has started")

    (line,) = (line for line in process.events if line["event"] == "role.started")
    assert line["config"] == str(elsewhere / "convoq.toml")
    assert line["database"] == str(elsewhere / "convoq.db")


async def begun(site: Site, role: str, *program: str) -> Process:
    process = await site.start(role, program=program)
    await site.until(lambda: any(line["event"] == "role.started" for line in process.events), "the role has started")
    return process


def imported(process: Process) -> set[str]:
    """Every module that an import statement of the process has loaded, and the packages around them."""
    lines = process.output.splitlines()
    names = [line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")]
    return {name.rsplit(".", dots)[0] for name in names for dots in range(name.count(".") + 1)}


@pytest.mark.process
@pytest.mark.parametrize("role", FOREIGN)
async def test_a_role_starts_without_what_only_others_need(role: str, site: Site) -> None:
    process = await begun(site, role, "-X", "importtime", "-m", "convoq")

    modules = imported(process)

    assert "convoq.db" in modules
    assert modules & FOREIGN[role] == set()


@pytest.mark.process
@pytest.mark.parametrize(("role", "loaded"), [("serve", False), ("schedule", False), ("work", True)])
async def test_plugins_of_pydantic_are_loaded_by_the_worker_alone(role: str, loaded: bool, site: Site) -> None:
    (site.directory / "observer.py").write_text(OBSERVER)
    (site.directory / "its_library.py").touch()
    described = site.directory / "observer-1.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: observer\nVersion: 1\n")
    (described / "entry_points.txt").write_text("[pydantic]\nobserver = observer:plugin\n")
    site.settings["PYTHONPATH"] = str(site.directory)

    process = await begun(site, role, "-X", "importtime", "-m", "convoq")

    assert ("its_library" in imported(process)) == loaded


@pytest.mark.process
@pytest.mark.parametrize("role", FOREIGN)
async def test_what_the_log_could_do_without_is_not_imported(role: str, site: Site) -> None:
    for name in OPTIONAL_OF_STRUCTLOG:
        (site.directory / f"{name}.py").write_text(f"open('{name}.loaded', 'x').close()")
    site.settings["PYTHONPATH"] = str(site.directory)

    await begun(site, role, "-m", "convoq")

    assert list(site.directory.glob("*.loaded")) == []


def test_what_the_log_could_do_without_can_be_imported_by_others(tmp_path: Path) -> None:
    (tmp_path / "rich.py").write_text("NAME = 'somebody needs it'")
    code = "from convoq.daemon.startup import starting\nwith starting('schedule'):\n    import rich\nprint(rich.NAME)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert ended.stdout == "somebody needs it\n"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # So that it is put back afterwards.
    monkeypatch.setenv("PYDANTIC_DISABLE_PLUGINS", "")
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_collected_until_the_role_is_ready(collector: None) -> None:
    with starting("schedule"):
        assert not gc.isenabled()
        started()
        assert gc.isenabled()


def test_what_the_start_has_made_is_not_looked_at_again(collector: None) -> None:
    frozen = gc.get_freeze_count()
    with starting("schedule"):
        started()
    assert gc.get_freeze_count() > frozen


def test_a_start_that_fails_leaves_the_collector_on(collector: None) -> None:
    with pytest.raises(ValueError, match="no"), starting("schedule"):
        raise ValueError("no")
    assert gc.isenabled()


def test_what_runs_with_the_collector_on_is_left_alone(collector: None) -> None:
    frozen = gc.get_freeze_count()
    started()
    assert gc.get_freeze_count() == frozen
