"""No variable of the environment makes a role in production import what only tests, dev and demo need."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Final

import pytest

import convoq
from convoq.settings.schema import RESERVED, SETTINGS, env_name
from tests.process.harness import Process, Site

pytestmark = pytest.mark.process

ROLES: Final = ("serve", "schedule", "work")
PACKAGE: Final = Path(convoq.__file__).parent
IMPORTED: Final = re.compile(r"^import time: .*\| +(convoq[\w.]*)$", re.MULTILINE)
TRIAL: Final = re.compile(r"convoq\.(loopback|dev|demo)\b")


def names_in_the_source() -> set[str]:
    """Every variable of ours that any module, a trial's too, names."""
    return {
        name.removesuffix("_")
        for path in PACKAGE.rglob("*.py")
        for name in re.findall(r"CONVOQ_[A-Z_]+", path.read_text())
    }


async def test_no_variable_that_the_source_names_makes_a_role_import_a_trial(site: Site) -> None:
    (site.directory / "convoq.toml").touch()
    settings = {env_name(path) for path in SETTINGS}
    others = names_in_the_source() - settings - {"CONVOQ"}
    assert others == RESERVED
    site.settings |= dict.fromkeys(others, "1") | {"CONVOQ_CONFIG": str(site.directory / "convoq.toml")}
    processes = [await site.start(role, PYTHONPROFILEIMPORTTIME="1") for role in ROLES]
    for process in processes:
        await site.until(partial(has_started, process), "the role has started")
        process.terminate()
    for process in processes:
        assert await process.ended() == 0
        imported = IMPORTED.findall(process.output)
        assert "convoq.daemon.process" in imported
        assert [name for name in imported if TRIAL.match(name)] == []


def has_started(process: Process) -> bool:
    return '"role.started"' in process.output


@pytest.mark.parametrize("name", ["CONVOQ_DEV_FAULTS", "CONVOQ_LOOPBACK"])
async def test_a_variable_that_is_no_setting_is_refused(site: Site, name: str) -> None:
    site.settings[name] = "http://127.0.0.1:1"
    process = await site.start("work")
    assert await process.ended() == 78
    assert f"convoq: {name}" in process.output
