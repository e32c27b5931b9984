"""The doctor looks at the settings: whether they can be read, and what each role misses in them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Set
from pathlib import Path
from typing import TYPE_CHECKING

from convoq.cli.doctor.machine import user_name
from convoq.errors import ConfigError
from convoq.monitoring.findings import Finding, fail, note, ok, warn

if TYPE_CHECKING:
    from convoq.settings.load import Loaded
    from convoq.settings.problems import Unmet


def examine(config: Path | None) -> tuple[Loaded | None, list[Finding]]:
    """The settings if they can be used, and a finding for the file or for each mistake in it or the environment."""
    from convoq.settings.load import load

    try:
        loaded = load(config)
    except ConfigError as error:
        return None, [fail("settings", line, None) for line in str(error).splitlines()]
    return loaded, [_file(loaded.file)]


def _file(file: Path | None) -> Finding:
    if file is None:
        return warn("settings", "no convoq.toml was found: defaults and environment only", "run convoq init")
    status = file.stat()
    mode = stat.S_IMODE(status.st_mode)
    detail = f"{file}, mode {mode:03o}, owner {user_name(status.st_uid)}"
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return warn("settings", f"{detail}: others can change it", f"chmod go-w {file}")
    return ok("settings", detail)


def needs(loaded: Loaded, seen: Set[str]) -> Iterator[Finding]:
    """What each role cannot do without. A role in `seen` runs, so it has its secrets, from elsewhere than we look,
    and was started with the flags that it needs."""
    from convoq.daemon.requirements import check_role
    from convoq.monitoring.roles import ROLES

    reported: set[Unmet] = set()
    for role in ROLES:
        found = [unmet for unmet in check_role(loaded, role, allow_offline=role in seen) if unmet not in reported]
        reported.update(found)
        for unmet in found:
            yield _unmet(role, unmet, role in seen)
    if not reported:
        yield ok("needs", "serve, schedule and work have all they need")


def _unmet(role: str, unmet: Unmet, runs: bool) -> Finding:
    from convoq.settings.problems import Unusable

    if isinstance(unmet, Unusable) or not unmet.secret:
        return fail("needs", f"{role}: {unmet.problem}", unmet.remedy)
    if runs:
        return note("needs", f"{role}: {unmet.headline} for this command; the running {role} has it")
    if os.environ.get("CREDENTIALS_DIRECTORY"):
        return fail("needs", f"{role}: {unmet.problem}", unmet.remedy)
    return warn(
        "needs", f"{role}: {unmet.problem}", f"{unmet.remedy} (fine if a systemd credential gives it to the unit)"
    )
