"""The doctor looks at the settings: whether they can be read, and what each role misses in them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from convoq.cli.doctor.machine import user_name
from convoq.errors import ConfigError
from convoq.monitoring.findings import Finding, fail, note, ok, warn
from convoq.text import counted

if TYPE_CHECKING:
    from convoq.settings.load import Loaded
    from convoq.settings.problems import Missing, Unmet


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


def prompts(loaded: Loaded) -> Iterator[Finding]:
    """Whether the prompt of each persona says anything of the business."""
    from convoq.ai.persona import read_personas
    from convoq.ai.prompt import DEFAULT_PROMPT, TO_FILL_IN

    options = loaded.options
    try:
        personas = read_personas(options.ai, options.personas, loaded.base_dir)
    except ConfigError:
        return  # the worker's needs say it
    for persona in personas.values():
        if persona.offline or persona.agent is not None:
            continue
        where = f'the persona "{persona.name}"'
        if persona.prompt == DEFAULT_PROMPT:
            yield warn("prompt", f"{where} knows nothing about your business", "say it in a file: ai.prompt_file")
        elif blanks := persona.prompt.count(TO_FILL_IN):
            fix = "fill them in, or take these lines out"
            yield warn("prompt", f'the prompt of {where} says "{TO_FILL_IN}" in {counted(blanks, "place")}', fix)


def unmet_needs(loaded: Loaded, seen: Set[str]) -> dict[str, list[Unmet]]:
    """What each role cannot do without. Imports handlers and agents of the user's own, as the worker does."""
    from convoq.daemon.requirements import check_role
    from convoq.monitoring.roles import ROLES

    return {role: check_role(loaded, role, allow_offline=role in seen) for role in ROLES}


def needs(unmet_by_role: Mapping[str, Sequence[Unmet]], seen: Set[str], *, has_unit: bool) -> Iterator[Finding]:
    """A role in `seen` runs, so it has its secrets: from elsewhere than we look."""
    reported: set[Unmet] = set()
    for role, unmet_of_role in unmet_by_role.items():
        found = [unmet for unmet in unmet_of_role if unmet not in reported]
        reported.update(found)
        for unmet in found:
            yield _unmet(role, unmet, runs=role in seen, has_unit=has_unit)
    if not reported:
        yield ok("needs", "serve, schedule and work have all they need")


def _unmet(role: str, unmet: Unmet, *, runs: bool, has_unit: bool) -> Finding:
    if not is_secret(unmet):
        return fail("needs", f"{role}: {unmet.problem}", unmet.remedy)
    if runs:
        return note("needs", f"{role}: {unmet.headline} for this command; the running {role} has it")
    if os.environ.get("CREDENTIALS_DIRECTORY"):
        return fail("needs", f"{role}: {unmet.problem}", unmet.remedy)
    if has_unit:
        # Nothing can be done about it from here: only the unit sees what it is given.
        return note("needs", f"{role}: {unmet.headline} for this command; its unit may have it as a credential")
    return warn("needs", f"{role}: {unmet.problem}", unmet.remedy)


def is_secret(unmet: Unmet) -> TypeGuard[Missing]:
    """Whether it is a secret, which the roles may have from where this command cannot look."""
    from convoq.settings.problems import Missing

    return isinstance(unmet, Missing) and unmet.secret
