"""The layers that settings are read from: flags, the environment, systemd's credentials and convoq.toml."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
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
    is_list,
    is_table,
    value_at,
)

_VARIABLES: Final = {env_name(path): path for path in SETTINGS}
_CREDENTIALS: Final = {credential_name(path): path for path in SETTINGS}


@dataclass(slots=True)
class Layer:
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

    def refuse(self, origin: Origin, message: str, path: KeyPath = ()) -> None:
        self.problems.append(Problem(origin, path, message))

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
            self.refuse(origin, f"must be {form}{place}", path)


def from_flags(overrides: Mapping[str, Any]) -> Layer:
    """Overrides are named like "server.port". None means that the flag was not given."""
    layer = Layer()
    for name, value in overrides.items():
        if value is not None:
            layer.put(tuple(name.split(".")), value, Origin("flag"))
    return layer


def from_environment(environ: Mapping[str, str]) -> Layer:
    """An empty variable counts as not set: that is what a blank line in an EnvironmentFile means."""
    layer = Layer()
    for name, text in sorted(environ.items()):
        if not name.startswith(ENV_PREFIX) or name in RESERVED:
            continue
        origin = Origin("environment", name)
        if name not in _VARIABLES:
            layer.refuse(origin, unknown_variable(name))
        elif text:
            layer.put_text(_VARIABLES[name], text, origin)
    return layer


def from_credentials(directory: str | None) -> Layer:
    """Files named like twilio__auth_token. Others may lie there too, unless they look like a misspelt one of ours.

    Their modes are not looked at: systemd guards the directory, and grants the service its files by an ACL that
    shows as a group's permission.
    """
    layer = Layer()
    if not directory:
        return layer
    try:
        files = sorted(file for file in Path(directory).iterdir() if file.is_file())
    except OSError as error:
        layer.refuse(DEFAULT, f"CREDENTIALS_DIRECTORY: cannot be read: {error.strerror}")
        return layer
    for file in files:
        _credential(layer, file)
    return layer


def _credential(layer: Layer, file: Path) -> None:
    origin = Origin("credential", file.name)
    if file.name not in _CREDENTIALS:
        if file.name.partition("__")[0] in SECTIONS and "__" in file.name:
            meant = nearest(file.name, _CREDENTIALS)
            layer.refuse(origin, "unknown setting" + (f". Did you mean {meant}?" if meant else ""))
        return
    try:
        text = file.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        layer.refuse(origin, f"cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        layer.refuse(origin, "must be UTF-8 text")
    else:
        if text:
            layer.put_text(_CREDENTIALS[file.name], text, origin)


def merged_origins(layers: Iterable[Layer]) -> dict[KeyPath, Origin]:
    """Where each value comes from, once the layers (lowest first) lie on each other."""
    origins: dict[KeyPath, Origin] = {}
    for layer in layers:
        for path in sorted(layer.origins, key=len):
            # Tables of several layers are one table, but a list replaces the list below it with all its items.
            if not isinstance(value_at(layer.values, path), dict):
                origins = {other: origin for other, origin in origins.items() if other[: len(path)] != path}
            origins[path] = layer.origins[path]
    return origins


def origin_of(path: KeyPath, origins: Mapping[KeyPath, Origin]) -> Origin:
    """The place of the value, or of the innermost table or list around it that has one."""
    for length in range(len(path), 0, -1):
        if path[:length] in origins:
            return origins[path[:length]]
    return DEFAULT
