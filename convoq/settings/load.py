"""Loads the settings: flags over the environment over credentials over convoq.toml over the defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from convoq.errors import ConfigError
from convoq.settings.draft import drafted
from convoq.settings.file import SEARCHED, find_file, from_file
from convoq.settings.layers import (
    Layer,
    from_credentials,
    from_environment,
    from_flags,
    merged_origins,
    origin_of,
)
from convoq.settings.options import Options
from convoq.settings.problems import DEFAULT, Origin, Problem
from convoq.settings.schema import KeyPath


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
    layers = [
        from_file(file, named_by) if file else Layer(),
        from_credentials(environ.get("CREDENTIALS_DIRECTORY")),
        from_environment(environ),
        from_flags(overrides or {}),
    ]
    origins = merged_origins(layers)
    draft = drafted(_merge(layers))
    problems = [problem for layer in layers for problem in layer.problems]
    problems += (Problem(origin_of(path, origins), path, message) for path, message in draft.errors)
    if not (layers[0].problems and not layers[0].values):
        # Without the file there is no telling what fits together.
        doubtful = {problem.path for problem in problems if problem.path}
        problems += (Problem(origin_of(path, origins), path, message) for path, message in draft.findings(doubtful))
    if problems:
        raise ConfigError("\n".join(map(str, sorted(problems, key=_from_the_top))))
    return Loaded(draft.options, file, origins)


def _from_the_top(problem: Problem) -> tuple[bool, int]:
    return problem.origin.kind != "file", problem.origin.line


class _Merged(BaseSettings):
    """The layers on top of each other, as pydantic-settings lays them, not yet validated."""

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
        layers: list[Layer] = init_settings()["layers"]
        return tuple(InitSettingsSource(settings_cls, layer.values) for layer in reversed(layers))


def _merge(layers: list[Layer]) -> dict[str, Any]:
    # Not a field: it is what the sources are made of.
    return dict(_Merged(layers=layers).model_extra or {})  # type: ignore[call-arg]  # see above
