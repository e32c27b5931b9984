"""Who answers: each configured persona, read and checked before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from convoq.ai.endpoints import Endpoint, check_shared_key, is_offline, main_endpoint, persona_endpoint
from convoq.ai.prompt import DEFAULT_PROMPT
from convoq.errors import ConfigError
from convoq.plugins import REFERENCE
from convoq.settings import AiSettings, PersonaSettings
from convoq.settings.people import DEFAULT_PERSONA
from convoq.settings.prompts import read_prompt


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
    check_shared_key(ai, personas)
    prompt = _read_prompt(ai.prompt_file, "ai.prompt_file", base_dir) or DEFAULT_PROMPT
    by_name = {DEFAULT_PERSONA: Persona(name=DEFAULT_PERSONA, prompt=prompt, endpoint=main_endpoint(ai))}
    names = [settings.name for settings in personas]
    for settings in personas:
        if names.count(settings.name) > 1:
            raise ConfigError(f'personas "{settings.name}": there are two of this name')
        by_name[settings.name] = _read(ai, settings, prompt, base_dir)
    return by_name


def _read(ai: AiSettings, settings: PersonaSettings, prompt: str, base_dir: Path) -> Persona:
    """The persona; `prompt` is for one that has none of its own."""
    where = f"personas.{settings.name}"
    if settings.agent is not None:
        return _own_agent(ai, settings, where)
    prompt = _read_prompt(settings.prompt_file, f"{where}.prompt_file", base_dir) or prompt
    endpoint = main_endpoint(ai) if settings.model is None else None
    if settings.model is not None and not is_offline(settings.model):
        endpoint = persona_endpoint(ai, f"{where}.model", settings.model)
    return Persona(name=settings.name, prompt=prompt, endpoint=endpoint)


def _own_agent(ai: AiSettings, settings: PersonaSettings, where: str) -> Persona:
    if settings.model is not None or settings.prompt_file is not None:
        raise ConfigError(f"{where}: agent brings its own prompt and model; leave out prompt_file and model")
    if not REFERENCE.fullmatch(settings.agent or ""):
        raise ConfigError(f'{where}.agent "{settings.agent}": expected "module:attribute", e.g. "mybot:agent"')
    return Persona(name=settings.name, prompt="", endpoint=main_endpoint(ai), agent=settings.agent)


def _read_prompt(path: Path | None, where: str, base_dir: Path) -> str | None:
    try:
        return None if path is None else read_prompt(base_dir / path)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
