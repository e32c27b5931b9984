"""What a check found."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.StrEnum):
    """How bad it is. Only FAIL makes `convoq doctor` end with 1."""

    OK = "ok"
    NOTE = "note"  #: nothing is wrong: worth knowing, or could not be looked at
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check."""

    name: str
    level: Level
    detail: str
    fix: str | None = None  #: what to do about it


def ok(name: str, detail: str) -> Finding:
    return Finding(name=name, level=Level.OK, detail=detail)


def note(name: str, detail: str, fix: str | None = None) -> Finding:
    return Finding(name=name, level=Level.NOTE, detail=detail, fix=fix)


def warn(name: str, detail: str, fix: str | None = None) -> Finding:
    return Finding(name=name, level=Level.WARN, detail=detail, fix=fix)


def fail(name: str, detail: str, fix: str | None = None) -> Finding:
    return Finding(name=name, level=Level.FAIL, detail=detail, fix=fix)
