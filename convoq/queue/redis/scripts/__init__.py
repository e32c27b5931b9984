"""The Lua scripts: one a verb, so that each happens whole, by Redis's own clock, in one round trip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Final

from convoq.jobs import INTAKE, INTAKE_KIND, PEOPLE, RESERVED, UPKEEP
from convoq.queue.rules import ALONE_FROM_ATTEMPT, CRASHES_FADE_MS, LARGEST_CLAIM, SEARCHED_OF_LANE

LOST: Final = -1  #: what a script answers whose claim is not the lane's any more

_CONSTANTS: Final[Mapping[str, object]] = {
    "LOST": LOST,
    "INTAKE": INTAKE,
    "PEOPLE": PEOPLE,
    "UPKEEP": UPKEEP,
    "INTAKE_KIND": INTAKE_KIND,
    "RESERVED": RESERVED,
    "ASIDE": f"{RESERVED}aside|",
    "LARGEST_CLAIM": LARGEST_CLAIM,
    "ALONE_FROM_ATTEMPT": ALONE_FROM_ATTEMPT,
    "CRASHES_FADE": CRASHES_FADE_MS,
    "SEARCHED_OF_LANE": SEARCHED_OF_LANE,
}


@dataclass(frozen=True, slots=True)
class Script:
    """One verb, and the digest by which Redis knows it."""

    source: str
    digest: str


def _load(path: Path, common: str) -> Script:
    # A server that is full takes no new jobs, but those that it has can end and make room.
    flags = "" if path.stem == "enqueue" else " flags=allow-oom"
    constants = "\n".join(f"local {name} = {value!r}" for name, value in _CONSTANTS.items())
    source = f"#!lua{flags}\n{constants}\n{common}\n{path.read_text()}"
    return Script(source, sha1(source.encode(), usedforsecurity=False).hexdigest())


def _load_all(directory: Path) -> dict[str, Script]:
    common = (directory / "common.lua").read_text()
    return {path.stem: _load(path, common) for path in sorted(directory.glob("*.lua")) if path.stem != "common"}


SCRIPTS: Final[Mapping[str, Script]] = _load_all(Path(__file__).parent)
