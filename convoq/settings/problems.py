"""What is wrong with a setting, in words: one line each, and never with the value of a secret."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from pydantic_core import ErrorDetails

from convoq.errors import ConfigError
from convoq.settings.schema import (
    SECTIONS,
    SETTINGS,
    TABLE_LISTS,
    KeyPath,
    credential_name,
    env_name,
    is_secret,
    model_of,
)
from convoq.text import printable

ECHO_LIMIT: Final = 40

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_PATTERNS: Final = {
    r"^AC[0-9a-f]{32}$": "must be AC and 32 of the characters 0-9 and a-f",
    r"^SK[0-9a-f]{32}$": "must be SK and 32 of the characters 0-9 and a-f",
    r"^MG[0-9a-f]{32}$": "must be MG and 32 of the characters 0-9 and a-f",
    r"^HX[0-9a-f]{32}$": "must be HX and 32 of the characters 0-9 and a-f",
    r"^[^\s{}]+$": "must hold no space and no { or }",
    r"^[A-Z]{3}$": "must be three capital letters, such as USD",
    r"^[A-Za-z0-9_.-]+$": "may only hold letters, digits, underscores, dots and hyphens",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from. As text: "default", "convoq.toml:3", "CONVOQ_SERVER__PORT", "flag", ..."""

    kind: Literal["default", "file", "credential", "environment", "flag"] = "default"
    name: str = ""  #: of the file, the credential or the variable
    line: int = 0

    def __str__(self) -> str:
        match self.kind:
            case "file":
                return printable(f"{self.name}:{self.line}" if self.line else self.name)
            case "credential":
                return printable(f"credential {self.name}")
            case "environment":
                return printable(self.name)
            case kind:
                return kind

    def names(self, path: KeyPath) -> bool:
        """Does it say by itself which setting is meant?"""
        return (self.kind == "environment" and self.name == env_name(path)) or (
            self.kind == "credential" and self.name == credential_name(path)
        )


DEFAULT: Final = Origin()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where. As text: one line for a person."""

    origin: Origin
    path: KeyPath
    message: str

    def __str__(self) -> str:
        places = [str(self.origin)] if self.origin != DEFAULT else []
        if self.path and not self.origin.names(self.path):
            places.append(dotted(self.path))
        return ": ".join([*places, self.message])


@dataclass(frozen=True, slots=True)
class Missing:
    """A setting that a role cannot start without. As text: one line for a person."""

    setting: KeyPath  #: ("twilio", "auth_token"); ("OPENAI_API_KEY",) is a key that only the environment can give
    meaning: str  #: "webhooks are signed with it"
    where: str = ""  #: "on the first page of console.twilio.com"

    @property
    def headline(self) -> str:
        return f"{dotted(self.setting)} is not set"

    @property
    def problem(self) -> str:
        return f"{self.headline}: {self.meaning}" + (f"; {self.where}" if self.where else "")

    @property
    def remedy(self) -> str:
        if self.setting not in SETTINGS:
            return f"Set {self.setting[0]} in the environment of convoq work"
        section, option = self.setting
        remedy = f"Set {option} in [{section}] of convoq.toml, or {env_name(self.setting)}"
        # The file from which the units of docs/deploy.md load it.
        return f"{remedy}; for a unit /etc/credstore/convoq.{credential_name(self.setting)}" if self.secret else remedy

    @property
    def secret(self) -> bool:
        """Whether it is a secret, which may be known to the role's unit alone."""
        return self.setting not in SETTINGS or is_secret(SETTINGS[self.setting])

    def __str__(self) -> str:
        return f"{self.problem}. {self.remedy}"


@dataclass(frozen=True, slots=True)
class Unusable:
    """A setting that a role cannot start with. As text: one line for a person."""

    problem: str  #: 'ai.model: "gpt-5" names no provider'
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.problem}. {self.remedy}" if self.remedy else self.problem


Unmet = Missing | Unusable


class RequirementUnmet(ConfigError):
    """A role cannot start with these settings."""

    def __init__(self, unmet: Unmet) -> None:
        super().__init__(str(unmet))
        self.unmet = unmet


def explain(error: ErrorDetails) -> str:
    """A validation error in our words."""
    path, context = error["loc"], error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            return unknown(path)
        case "missing":
            return "must be set"
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}{_echo(error)}"
        case "greater_than":
            return f"must be more than {context['gt']:g}{_echo(error)}"
        case "less_than_equal":
            return f"must be at most {context['le']:g}{_echo(error)}"
        case "string_pattern_mismatch":
            return _PATTERNS[context["pattern"]]
        case "literal_error":
            return f"must be one of {context['expected']}".replace("'", '"') + _echo(error)
        case "string_type" | "path_type":
            return "must be text in quotes"
        case "string_unicode":
            return "must be UTF-8 text"
        case "tuple_type":
            return f"must be a list of tables: write [[{path[-1]}]]" if path[-1] in TABLE_LISTS else "must be a list"
        case "dict_type" | "model_type":
            return "must be a table"
        case "boolean" | "float_parsing" | "float_type" | "finite_number" | "decimal_parsing" | "decimal_type":
            return f"must be a number{_echo(error)}"
        case "int_parsing" | "int_type" | "int_from_float" | "int_parsing_size":
            return f"must be a whole number{_echo(error)}"
        case _:
            return printable(error["msg"])


def _echo(error: ErrorDetails) -> str:
    """The value itself. Asked for with numbers and choices only, which are no secrets."""
    value = error["input"]
    shown = ""
    if isinstance(value, bool):
        shown = str(value).lower()
    elif isinstance(value, str):
        shown = quoted(value)
    elif isinstance(value, int | float):
        shown = str(value)
    return f", not {shown}" if 0 < len(shown) <= ECHO_LIMIT else ""


def unknown(path: KeyPath) -> str:
    """Says that there is no such setting, and which one was probably meant."""
    meant = _nearest_setting(path)
    return f"unknown setting. Did you mean {quoted(meant)}?" if meant else "unknown setting"


def unknown_variable(name: str) -> str:
    """The same for a variable of the environment."""
    if (prefix := name + "__") and any(env_name(path).startswith(prefix) for path in SETTINGS):
        return f"is a table. Set its options one by one, as {prefix}..."
    tail = name.rpartition("CONVOQ_")[2]
    elsewhere = [env_name(path) for path in SETTINGS if len(path) == 2 and str(path[1]).upper() == tail]
    meant = elsewhere[0] if len(elsewhere) == 1 else nearest(name, map(env_name, SETTINGS))
    return f"unknown setting. Did you mean {meant}?" if meant else "unknown setting"


def _nearest_setting(path: KeyPath) -> str | None:
    model, name = model_of(path[:-1]), str(path[-1])
    if model is None:
        return None
    elsewhere = [f"{section}.{name}" for section, fields in SECTIONS.items() if name in fields.model_fields]
    return nearest(name, model.model_fields) or (elsewhere[0] if len(elsewhere) == 1 else None)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant, if one is close."""
    return next(iter(difflib.get_close_matches(name, list(names), n=1, cutoff=0.7)), None)


def dotted(path: KeyPath) -> str:
    """A path as people write it: numbers[0].address."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else quoted(part))
    return text


def quoted(text: str) -> str:
    return f'"{printable(text)}"'
