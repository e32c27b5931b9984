"""Loads the settings: flags over the environment over credentials over convoq.toml over the defaults."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from convoq.errors import ConfigError
from convoq.settings.checks import violations
from convoq.settings.options import Options
from convoq.settings.problems import DEFAULT, Origin, Problem, explain
from convoq.settings.schema import SECTIONS, TABLE_LISTS, KeyPath, value_at
from convoq.settings.sources import (
    SEARCHED,
    Source,
    defaults_beside,
    find_file,
    merged_origins,
    origin_of,
    read_credentials,
    read_environment,
    read_file,
    read_flags,
)

#: Each comes before those in front of it.
PLACES: Final = ("default", "file", "credential", "environment", "flag")
OF_SERVER: Final = ("url", "direct_url")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Options that are whole and make sense, and where each of them comes from."""

    options: Options
    file: Path | None  #: the convoq.toml that was read, if there was one
    origins: Mapping[KeyPath, Origin]

    def origin(self, *path: str | int) -> Origin:
        """Where the value at this path comes from, e.g. origin("server", "port")."""
        origin = origin_of(path, self.origins)
        # Every key of the file has a line of its own: what only its table has is not in the file.
        return origin if path in self.origins or origin.kind != "file" else DEFAULT

    @property
    def config_path(self) -> str | None:
        """The absolute path of the file, for the log."""
        return str(self.file.absolute()) if self.file else None

    @property
    def base_dir(self) -> Path:
        """Where the user's own modules are looked for: the directory of convoq.toml, else the working directory."""
        return self.file.absolute().parent if self.file else Path.cwd()


def load(
    config: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, Any] | None = None,
    searched: Sequence[Path] = SEARCHED,
) -> Loaded:
    """The settings of this process, complete and checked.

    `overrides` are the flags, named like "server.port"; None means not given. A `config` (or CONVOQ_CONFIG) must
    exist; without one the first of `searched` that exists is read. Raises ConfigError with one line for every
    problem there is.
    """
    file, named_by = find_file(config, environ, searched)
    from_file = read_file(file, named_by) if file else Source()
    sources = [
        defaults_beside(file) if file else Source(),
        from_file,
        read_credentials(environ.get("CREDENTIALS_DIRECTORY")),
        read_environment(environ),
        read_flags(overrides or {}),
    ]
    origins = merged_origins(sources)
    # `sources` is no field: what the model is made of arrives in its hook.
    merged = _Merged(sources=sources).model_extra  # type: ignore[call-arg]  # see above
    values = dict(merged or {})
    problems = [problem for source in sources for problem in source.problems]
    problems += _choose_database(values, origins)
    partial = _validate(values)
    problems += (Problem(origin_of(path, origins), path, message) for path, message in partial.errors)
    if not (from_file.problems and not from_file.values):
        # Without the file there is no telling what fits together.
        doubtful = {problem.path for problem in problems if problem.path}
        problems += (Problem(origin_of(path, origins), path, message) for path, message in partial.violations(doubtful))
    if problems:
        problems.sort(key=lambda problem: (problem.origin.kind != "file", problem.origin.line))
        raise ConfigError("\n".join(map(str, problems)))
    return Loaded(partial.options, file, origins)


def _choose_database(values: dict[str, Any], origins: Mapping[KeyPath, Origin]) -> Iterator[Problem]:
    """Of a file and a server the one that the higher place names, as if it were one setting."""
    file, server = origins.get(("database", "path")), origins.get(("database", "url"))
    if file is None or server is None or not isinstance(values.get("database"), dict):
        return
    if file.kind == server.kind:
        yield Problem(server, ("database", "url"), "stands beside database.path: give one of them")
    elif PLACES.index(file.kind) > PLACES.index(server.kind):
        values["database"] = {key: value for key, value in values["database"].items() if key not in OF_SERVER}


class _Merged(BaseSettings):
    """The sources merged as pydantic-settings does it, not yet validated."""

    model_config = SettingsConfigDict(extra="allow")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the hook's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the hook's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the hook's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # Its stock sources stop at the first bad value and cannot say on which line or in which variable it stands.
        sources: list[Source] = init_settings()["sources"]
        return tuple(InitSettingsSource(settings_cls, source.values) for source in reversed(sources))


@dataclass(frozen=True, slots=True)
class PartialOptions:
    """Options without what had the wrong type, so that one wrong value does not hide what else is wrong."""

    options: Options
    errors: tuple[tuple[KeyPath, str], ...] = ()  #: what is wrong with the values that were left out
    positions: dict[str, list[int]] | None = None  #: for each list, where its valid items stood

    def violations(self, doubtful: Set[KeyPath]) -> Iterator[tuple[KeyPath, str]]:
        """What does not fit together; nothing that only seems so because one of the `doubtful` settings is wrong."""
        for violation in violations(self.options):
            path = self._original(violation.path)
            if not any(_overlap(other, needed) for other in doubtful for needed in (path, *violation.needs)):
                yield path, violation.message

    def _original(self, path: KeyPath) -> KeyPath:
        if self.positions is not None and path[0] in self.positions:
            return (path[0], self.positions[str(path[0])][int(path[1])], *path[2:])
        return path


def _overlap(one: KeyPath, other: KeyPath) -> bool:
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _validate(values: dict[str, Any]) -> PartialOptions:
    """Validates the values, and leaves out whatever has to go for the rest to be valid."""
    try:
        return PartialOptions(Options.model_validate(values))
    except ValidationError as error:
        wrong = error.errors(include_url=False)
    rest = copy.deepcopy(values)
    invalid: set[KeyPath] = set()
    for item in wrong:
        if item["type"] == "extra_forbidden":
            value_at(rest, item["loc"][:-1]).pop(item["loc"][-1])
        else:
            _drop(rest, item["loc"], invalid)
    positions = {name: _keep_valid(rest, name, invalid) for name in TABLE_LISTS}
    errors = tuple((item["loc"], explain(item)) for item in wrong)
    return PartialOptions(Options.model_validate(rest), errors, positions)


def _drop(values: dict[str, Any], path: KeyPath, invalid: set[KeyPath]) -> None:
    """Items of [[lists]] are only marked as invalid: the others keep their places until all are known."""
    match path:
        case (str(name), int(index), *_) if name in TABLE_LISTS:
            invalid.add((name, index))
        case (str(name), str(key), *_) if name in SECTIONS or name == "handlers":
            value_at(values, (name,)).pop(key, None)
        case (name, *_):
            values.pop(str(name), None)


def _keep_valid(values: dict[str, Any], name: str, invalid: set[KeyPath]) -> list[int]:
    items = values.get(name, ())
    kept = [index for index in range(len(items)) if (name, index) not in invalid]
    if name in values:
        values[name] = [items[index] for index in kept]
    return kept
