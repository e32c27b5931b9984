"""Reads what settings are made of, one source each: convoq.toml, systemd's credentials, the environment, flags."""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from convoq.settings.problems import DEFAULT, Origin, Problem, nearest, unknown_variable
from convoq.settings.schema import (
    ENV_PREFIX,
    RESERVED,
    SECTIONS,
    SETTINGS,
    KeyPath,
    credential_name,
    env_name,
    field_of,
    is_list,
    is_secret,
    is_table,
    value_at,
)
from convoq.settings.toml_lines import key_lines
from convoq.text import printable

SEARCHED: Final = (Path("convoq.toml"), Path("/etc/convoq/convoq.toml"))

_VARIABLES: Final = {env_name(path): path for path in SETTINGS}
_CREDENTIALS: Final = {credential_name(path): path for path in SETTINGS}

# Where tomllib says that an error is, at the end of its message.
_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(slots=True)
class Source:
    """Values as one source gives them, where each of them stands, and what is wrong with the source itself."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def put(self, path: KeyPath, value: object, origin: Origin) -> None:
        *tables, name = path
        table = self.values
        for part in tables:
            table = table.setdefault(str(part), {})
        table[str(name)] = value
        self.origins[path] = origin

    def put_text(self, path: KeyPath, text: str, origin: Origin) -> None:
        """Lists and tables are JSON; everything else is the text itself."""
        setting = SETTINGS[path]
        if not (is_list(setting) or is_table(setting)):
            self.put(path, text, origin)
            return
        try:
            self.put(path, json.loads(text), origin)
        except (ValueError, RecursionError) as error:
            form = (
                'a JSON list, such as ["...", "..."]' if is_list(setting) else 'a JSON object, such as {"...": "..."}'
            )
            place = f" ({error.msg}, character {error.pos + 1})" if isinstance(error, json.JSONDecodeError) else ""
            self.add_problem(origin, f"must be {form}{place}", path)

    def add_problem(self, origin: Origin, message: str, path: KeyPath = ()) -> None:
        self.problems.append(Problem(origin, path, message))


def find_file(config: Path | None, environ: Mapping[str, str], searched: Sequence[Path]) -> tuple[Path | None, str]:
    """The file to read, and what named it: "--config", "CONVOQ_CONFIG", or "" (then it exists or is None)."""
    if config is not None:
        return config, "--config"
    if environ.get("CONVOQ_CONFIG"):
        return Path(environ["CONVOQ_CONFIG"]), "CONVOQ_CONFIG"
    return next((path for path in searched if os.path.lexists(path)), None), ""


def defaults_beside(file: Path) -> Source:
    """The defaults that are relative paths, beside the file: without an origin, because they are still defaults.

    From the working directory the same --config would mean another database in each directory.
    """
    source = Source()
    for path, setting in SETTINGS.items():
        if isinstance(setting.default, Path):
            section, option = map(str, path)
            source.values.setdefault(section, {})[option] = str(file.absolute().parent / setting.default)
    return source


def read_file(path: Path, named_by: str) -> Source:
    """convoq.toml. What cannot be read or is no TOML is a problem of the source."""
    source = Source()
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        source.add_problem(DEFAULT, f"{named_by}: " * bool(named_by) + printable(f"cannot read {path}: {reason}"))
        return source
    text = _decode(source, path, content)
    if text is None or not _parse(source, path, text):
        return source
    if _readable_by_others(status):
        _report_exposed_secrets(source, path, status)
    _drop_non_tables(source)
    _resolve_paths(source, path)
    return source


def _decode(source: Source, path: Path, content: bytes) -> str | None:
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        source.add_problem(Origin("file", str(path), content.count(b"\n", 0, error.start) + 1), "not UTF-8 text")
        return None


def _parse(source: Source, path: Path, text: str) -> bool:
    try:
        source.values = tomllib.loads(text)
        source.origins = {key: Origin("file", str(path), line) for key, line in key_lines(text).items()}
    except RecursionError:
        source.add_problem(Origin("file", str(path)), "not valid TOML: nested too deeply")
    except ValueError as error:
        source.add_problem(*_syntax_error(path, text, str(error)))
    return not source.problems


def _syntax_error(path: Path, text: str, message: str) -> tuple[Origin, str]:
    place = _PLACE.search(message)
    line = int(place[1]) if place and place[1] else text.rstrip().count("\n") + 1
    column = f" (column {place[2]})" if place and place[2] else ""
    return Origin("file", str(path), line), f"not valid TOML: {printable(_PLACE.sub('', message))}{column}"


def _readable_by_others(status: os.stat_result) -> bool:
    # root:convoq 0640 is how a service's own group reads a file that it must not change.
    shared = stat.S_IROTH if status.st_uid == 0 else stat.S_IROTH | stat.S_IRGRP
    return bool(status.st_mode & shared)


def _report_exposed_secrets(source: Source, path: Path, status: os.stat_result) -> None:
    secrets = [key for key, setting in SETTINGS.items() if is_secret(setting) and value_at(source.values, key)]
    lines = {key: source.origins[key].line for key in secrets if key in source.origins}
    if lines:
        first = min(lines, key=lambda key: lines[key])
        wanted = "640" if status.st_uid == 0 else "600"
        source.add_problem(
            source.origins[first],
            f"a secret in a file that other users can read. Run: chmod {wanted} {printable(str(path))}",
            first,
        )


def _drop_non_tables(source: Source) -> None:
    # Another source's table would silently replace the wrong value, and hide that the file is wrong.
    for name in SECTIONS:
        if name in source.values and not isinstance(source.values[name], dict):
            source.add_problem(source.origins[(name,)], f"must be one table: write [{name}]", (name,))
            del source.values[name]


def _resolve_paths(source: Source, file: Path) -> None:
    """Relative paths in the file start at the file, from wherever it is read."""
    directory = file.absolute().parent
    for key in source.origins:
        setting = field_of(key)
        if setting is None or Path not in (setting.annotation, *getattr(setting.annotation, "__args__", ())):
            continue
        table = value_at(source.values, key[:-1])
        if isinstance(table, dict) and isinstance(table[key[-1]], str) and table[key[-1]]:
            table[key[-1]] = str(directory / table[key[-1]])


def read_credentials(directory: str | None) -> Source:
    """Files named like twilio__auth_token. Others may lie there too, unless they look like a misspelt one of ours.

    Their modes are not looked at: systemd guards the directory, and grants the service its files by an ACL that
    shows as a group's permission.
    """
    source = Source()
    if not directory:
        return source
    try:
        files = sorted(file for file in Path(directory).iterdir() if file.is_file())
    except OSError as error:
        source.add_problem(DEFAULT, f"CREDENTIALS_DIRECTORY: cannot be read: {error.strerror}")
        return source
    for file in files:
        _read_credential(source, file)
    return source


def _read_credential(source: Source, file: Path) -> None:
    origin = Origin("credential", file.name)
    if file.name not in _CREDENTIALS:
        if file.name.partition("__")[0] in SECTIONS and "__" in file.name:
            meant = nearest(file.name, _CREDENTIALS)
            source.add_problem(origin, "unknown setting" + (f". Did you mean {meant}?" if meant else ""))
        return
    try:
        text = file.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        source.add_problem(origin, f"cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        source.add_problem(origin, "must be UTF-8 text")
    else:
        if text:
            source.put_text(_CREDENTIALS[file.name], text, origin)


def read_environment(environ: Mapping[str, str]) -> Source:
    """An empty variable counts as not set: that is what a blank line in an EnvironmentFile means."""
    source = Source()
    for name, text in sorted(environ.items()):
        if not name.startswith(ENV_PREFIX) or name in RESERVED:
            continue
        origin = Origin("environment", name)
        if name not in _VARIABLES:
            source.add_problem(origin, unknown_variable(name))
        elif text:
            source.put_text(_VARIABLES[name], text, origin)
    return source


def read_flags(overrides: Mapping[str, Any]) -> Source:
    """Overrides are named like "server.port". None means that the flag was not given."""
    source = Source()
    for name, value in overrides.items():
        if value is not None:
            source.put(tuple(name.split(".")), value, Origin("flag"))
    return source


def merged_origins(sources: Iterable[Source]) -> dict[KeyPath, Origin]:
    """Where each value comes from, once the sources are merged, the weakest first."""
    origins: dict[KeyPath, Origin] = {}
    for source in sources:
        for path in sorted(source.origins, key=len):
            # Tables of several sources are merged, but a list replaces the weaker source's list with all its items.
            if not isinstance(value_at(source.values, path), dict):
                origins = {other: origin for other, origin in origins.items() if other[: len(path)] != path}
            origins[path] = source.origins[path]
    return origins


def origin_of(path: KeyPath, origins: Mapping[KeyPath, Origin]) -> Origin:
    """The place of the value, or of the innermost table or list around it that has one."""
    for length in range(len(path), 0, -1):
        if path[:length] in origins:
            return origins[path[:length]]
    return DEFAULT
