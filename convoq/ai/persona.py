"""Who answers: each configured persona, read and checked before anything starts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from convoq.ai.endpoint import Endpoint, is_offline, main_endpoint, persona_endpoint
from convoq.ai.prompt import DEFAULT_PROMPT
from convoq.errors import ConfigError
from convoq.settings import AiSettings, PersonaSettings

DEFAULT: Final = "default"

MAX_PROMPT_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """Who answers. Without an endpoint and an agent it is the offline demo."""

    name: str
    prompt: str
    endpoint: Endpoint | None
    agent: str | None = None  #: "module:attribute" of the user's own agent

    @property
    def offline(self) -> bool:
        return self.endpoint is None and self.agent is None


def read_personas(ai: AiSettings, personas: Sequence[PersonaSettings], base_dir: Path) -> dict[str, Persona]:
    """Every persona by name, a built-in "default" among them. Raises ConfigError for the first that cannot be used."""
    by_name = {DEFAULT: Persona(name=DEFAULT, prompt=DEFAULT_PROMPT, endpoint=main_endpoint(ai))}
    names = [settings.name for settings in personas]
    for settings in personas:
        if names.count(settings.name) > 1:
            raise ConfigError(f'personas "{settings.name}": there are two of this name')
        by_name[settings.name] = _read(ai, settings, base_dir)
    return by_name


def _read(ai: AiSettings, settings: PersonaSettings, base_dir: Path) -> Persona:
    where = f"personas.{settings.name}"
    if settings.agent is not None:
        return _own_agent(ai, settings, where)
    prompt = DEFAULT_PROMPT
    if settings.prompt_file is not None:
        prompt = _read_prompt(base_dir / settings.prompt_file, f"{where}.prompt_file")
    endpoint = main_endpoint(ai) if settings.model is None else None
    if settings.model is not None and not is_offline(settings.model):
        endpoint = persona_endpoint(ai, f"{where}.model", settings.model)
    return Persona(name=settings.name, prompt=prompt, endpoint=endpoint)


def _own_agent(ai: AiSettings, settings: PersonaSettings, where: str) -> Persona:
    if settings.model is not None or settings.prompt_file is not None:
        raise ConfigError(f"{where}: agent brings its own prompt and model; leave out prompt_file and model")
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", settings.agent or ""):
        raise ConfigError(f'{where}.agent "{settings.agent}": expected "module:attribute", e.g. "mybot:agent"')
    return Persona(name=settings.name, prompt="", endpoint=main_endpoint(ai), agent=settings.agent)


def _read_prompt(path: Path, where: str) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{where}: cannot read {path}: {error.strerror}") from error
    if len(content) > MAX_PROMPT_BYTES:
        raise ConfigError(f"{where}: {path} is larger than {MAX_PROMPT_BYTES // 1024} KiB")
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: {path} is not UTF-8 text (byte {error.start})") from error
    if not text:
        raise ConfigError(f"{where}: {path} is empty; write the persona's instructions into it")
    return text
