"""convoq.toml: where it lies, what it says, on which line, and whether others can read its secrets."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from convoq.settings.layers import Layer
from convoq.settings.problems import DEFAULT, Origin
from convoq.settings.schema import SECTIONS, SETTINGS, KeyPath, field_of, is_secret, value_at
from convoq.settings.toml_lines import key_lines
from convoq.text import printable

SEARCHED: Final = (Path("convoq.toml"), Path("/etc/convoq/convoq.toml"))

_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def find_file(config: Path | None, environ: Mapping[str, str], searched: Sequence[Path]) -> tuple[Path | None, str]:
    """The file to read and who named it: "--config", "CONVOQ_CONFIG", or nobody (then it exists or is None)."""
    if config is not None:
        return config, "--config"
    if environ.get("CONVOQ_CONFIG"):
        return Path(environ["CONVOQ_CONFIG"]), "CONVOQ_CONFIG"
    return next((path for path in searched if os.path.lexists(path)), None), ""


def from_file(path: Path, named_by: str) -> Layer:
    """The file as a layer. What cannot be read or is no TOML is a problem of the layer."""
    layer = Layer()
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno())
            content = file.read()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        layer.refuse(DEFAULT, f"{named_by}: " * bool(named_by) + printable(f"cannot read {path}: {reason}"))
        return layer
    text = _decode(layer, path, content)
    if text is None or not _parse(layer, path, text):
        return layer
    if _readable_by_others(mode):
        _refuse_bared_secrets(layer, path, mode)
    _drop_what_is_no_table(layer)
    _anchor_paths(layer, path)
    return layer


def _decode(layer: Layer, path: Path, content: bytes) -> str | None:
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        layer.refuse(Origin("file", str(path), content.count(b"\n", 0, error.start) + 1), "not UTF-8 text")
        return None


def _parse(layer: Layer, path: Path, text: str) -> bool:
    try:
        layer.values = tomllib.loads(text)
        layer.origins = {key: Origin("file", str(path), line) for key, line in key_lines(text).items()}
    except RecursionError:
        layer.refuse(Origin("file", str(path)), "not valid TOML: nested too deeply")
    except ValueError as error:
        layer.refuse(*_syntax_error(path, text, str(error)))
    return not layer.problems


def _syntax_error(path: Path, text: str, message: str) -> tuple[Origin, str]:
    place = _PLACE.search(message)
    line = int(place[1]) if place and place[1] else text.rstrip().count("\n") + 1
    column = f" (column {place[2]})" if place and place[2] else ""
    return Origin("file", str(path), line), f"not valid TOML: {printable(_PLACE.sub('', message))}{column}"


def _readable_by_others(mode: os.stat_result) -> bool:
    # root:convoq 0640 is how a service's own group reads a file that it must not change.
    shared = stat.S_IROTH if mode.st_uid == 0 else stat.S_IROTH | stat.S_IRGRP
    return bool(mode.st_mode & shared)


def _refuse_bared_secrets(layer: Layer, path: Path, mode: os.stat_result) -> None:
    secrets = sorted(_secrets(layer), key=lambda key: layer.origins[key].line)
    if secrets:
        wanted = "640" if mode.st_uid == 0 else "600"
        layer.refuse(
            layer.origins[secrets[0]],
            f"a secret in a file that other users can read. Run: chmod {wanted} {printable(str(path))}",
            secrets[0],
        )


def _secrets(layer: Layer) -> Iterator[KeyPath]:
    for path, setting in SETTINGS.items():
        if is_secret(setting) and value_at(layer.values, path) and path in layer.origins:
            yield path


def _drop_what_is_no_table(layer: Layer) -> None:
    # Another layer's table would silently replace it, and nobody would hear that the file is wrong.
    for name in SECTIONS:
        if name in layer.values and not isinstance(layer.values[name], dict):
            layer.refuse(layer.origins[(name,)], f"must be one table: write [{name}]", (name,))
            del layer.values[name]


def _anchor_paths(layer: Layer, path: Path) -> None:
    """Relative paths in the file start at the file, from wherever it is read."""
    for key in layer.origins:
        setting = field_of(key)
        if setting is not None and Path in (setting.annotation, *getattr(setting.annotation, "__args__", ())):
            _anchor(layer.values, key, path.absolute().parent)


def _anchor(values: dict[str, Any], key: KeyPath, directory: Path) -> None:
    table = value_at(values, key[:-1])
    if isinstance(table, dict) and isinstance(table[key[-1]], str) and table[key[-1]]:
        table[key[-1]] = str(directory / Path(table[key[-1]]))
