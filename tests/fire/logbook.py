"""Reads what the processes wrote: every event above warning must be explained, and no log may tell what people said."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from tests.fire.peers import TOKEN
from tests.fire.report import Section
from tests.fire.site import Site

PRIVATE = re.compile(rf"{TOKEN.pattern}|\+1555\d{{7}}")


def read_logs(site: Site, section: Section, explained: Mapping[str, str]) -> None:
    """Counts the warnings; unexplained errors, private words and lines that are no events become problems."""
    for log in sorted(site.directory.glob("*.log")):
        for line in log.read_text(errors="replace").splitlines():
            _read(log, line, section, explained)


def _read(log: Path, line: str, section: Section, explained: Mapping[str, str]) -> None:
    if PRIVATE.search(line):
        section.problems.append(f"{log.name} tells private words: {line[:300]}")
    event = _event(line)
    level, name = event.get("level"), event.get("event", "")
    if name == "job.lease_lost":
        section.count("leases lost and noticed")
    if level == "warning":
        section.warnings[name] += 1
    elif level != "info":
        known = name if name in explained else next((words for words in explained if words in line), None)
        if known is None:
            section.problems.append(f"{log.name}: {line[:600]}")
        else:
            section.explained[known] = explained[known]
            section.count(f"explained: {known}")


def _event(line: str) -> dict[str, str]:
    """The line as an event; one that is none has no level, which needs an explanation too."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}
