"""Which model is meant by a name in the settings, where it is asked, and with which key."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from pydantic import SecretStr

from convoq.settings import AiSettings, PersonaSettings
from convoq.settings.problems import Missing, RequirementUnmet, Unmet, Unusable, quoted

OFFLINE: Final = "offline"

#: A service that speaks OpenAI's dialect at a base_url of its own: Ollama, vLLM, llama.cpp, a gateway.
COMPATIBLE: Final = "openai-compatible"

# With a base_url, only these prefixes are ours: "llama3.2:3b" and "mistral:7b" are Ollama's own names.
_WITH_BASE_URL: Final = {
    "openai": "openai",
    "openai-chat": "openai",
    "anthropic": "anthropic",
    "ollama": COMPATIBLE,
    "vllm": COMPATIBLE,
}

_PUBLIC_URLS: Final = {
    **dict.fromkeys(("openai", "openai-chat", "openai-responses"), "https://api.openai.com"),
    "anthropic": "https://api.anthropic.com",
}

#: Providers that want a key, and the variables in which their own SDK looks for it.
KEY_VARIABLES: Final = {"openai": ("OPENAI_API_KEY",), "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A model and where it is asked."""

    setting: str  #: where it was configured, for messages: "ai.model"
    label: str  #: as it was configured, for people: "openai:gpt-5-mini"
    provider: str  #: openai, anthropic, openai-compatible, or a prefix that Pydantic AI knows
    name: str  #: what the provider calls it
    base_url: str | None = None
    api_key: SecretStr | None = field(default=None, repr=False)

    @property
    def vendor(self) -> str:
        """Whose key it is: OpenAI has several dialects, and one key for all of them."""
        return "openai" if self.provider == "openai-responses" else self.provider

    def same_place(self, other: Endpoint) -> bool:
        """Whether both get their requests, and so the key, at the same address."""
        return (self.vendor, _address(self)) == (other.vendor, _address(other))


def _address(endpoint: Endpoint) -> str | None:
    return endpoint.base_url.rstrip("/") if endpoint.base_url else None


def is_offline(model: str | None) -> bool:
    return model is None or model == OFFLINE


def endpoint_problems(
    ai: AiSettings, personas: Sequence[PersonaSettings], environ: Mapping[str, str] = os.environ
) -> list[Unmet]:
    """Everything that keeps the configured models from being asked."""
    lookups: list[Callable[[], object]] = [partial(main_endpoint, ai, environ)]
    lookups += [
        partial(persona_endpoint, ai, _setting(persona), persona.model, environ)
        for persona in personas
        if persona.model is not None and not is_offline(persona.model)
    ]
    lookups += [partial(fallback_endpoint, ai, environ), partial(check_shared_key, ai, personas)]
    problems: list[Unmet] = []
    for look_up in lookups:
        try:
            look_up()
        except RequirementUnmet as error:
            problems.append(error.unmet)
    return list(dict.fromkeys(problems))


def main_endpoint(ai: AiSettings, environ: Mapping[str, str] = os.environ) -> Endpoint | None:
    """ai.model; None when it is not set or "offline". Raises ConfigError."""
    main = _main(ai)
    return None if main is None else _with_key(main, "api_key", environ)


def persona_endpoint(ai: AiSettings, setting: str, model: str, environ: Mapping[str, str] = os.environ) -> Endpoint:
    """A persona's own model. ai.base_url and ai.api_key are for it only when ai.model is not of another provider."""
    main = _main(ai)
    if main is not None and _other_provider(model, main):
        return _with_key(_endpoint(setting, model, None, None), None, environ)
    return _with_key(_endpoint(setting, model, ai.base_url, ai.api_key), "api_key", environ)


def fallback_endpoint(ai: AiSettings, environ: Mapping[str, str] = os.environ) -> Endpoint | None:
    """ai.fallback_model; None when it is not set. It shares ai.api_key only where ai.model is asked at the same place.

    Raises ConfigError.
    """
    if ai.fallback_model is None:
        return None
    if is_offline(ai.fallback_model):
        problem = 'ai.fallback_model: "offline" is a demo, not a fallback'
        raise RequirementUnmet(Unusable(problem, "Name a model or leave it out"))
    fallback = _endpoint("ai.fallback_model", ai.fallback_model, ai.fallback_base_url, ai.fallback_api_key)
    main = _main(ai)
    if fallback.api_key is None and main is not None and fallback.same_place(main):
        fallback = replace(fallback, api_key=main.api_key)
    return _with_key(fallback, "fallback_api_key", environ)


def check_shared_key(ai: AiSettings, personas: Sequence[PersonaSettings]) -> None:
    """Raises ConfigError when ai.api_key would go to several places, because no ai.model says whose key it is."""
    if ai.api_key is None or ai.base_url is not None or not is_offline(ai.model):
        return
    named = [(_setting(one), one.model) for one in personas if one.model is not None and not is_offline(one.model)]
    models = [_endpoint(setting, model, None, ai.api_key) for setting, model in named]
    for other in models[1:]:
        if not other.same_place(models[0]):
            names = " and ".join(f"{quoted(one.label)} ({one.setting})" for one in (models[0], other))
            raise RequirementUnmet(
                Unusable(
                    f"ai.api_key: would be sent to the providers of {names}",
                    "Set ai.model to one of them to say whose key it is, and give the other its own in the environment",
                )
            )


def _setting(persona: PersonaSettings) -> str:
    return f"personas.{persona.name}.model"


def _main(ai: AiSettings) -> Endpoint | None:
    if ai.model is None or is_offline(ai.model):
        return None
    return _endpoint("ai.model", ai.model, ai.base_url, ai.api_key)


def _other_provider(model: str, main: Endpoint) -> bool:
    # Sending one provider's key to another would leak it.
    prefix, colon, _ = model.partition(":")
    if not colon:
        return False
    if main.base_url is None:
        return _endpoint("", model, None, None).vendor != main.vendor
    return prefix in ("openai", "anthropic") and prefix != main.provider


def _endpoint(setting: str, model: str, base_url: str | None, api_key: SecretStr | None) -> Endpoint:
    prefix, colon, name = model.partition(":")
    if base_url is not None:
        provider = _WITH_BASE_URL.get(prefix) if colon else None
        provider, name = (provider, name) if provider else (COMPATIBLE, model)
    elif colon and prefix != COMPATIBLE:
        provider = "openai" if prefix == "openai-chat" else prefix
    else:
        url = "ai.fallback_base_url" if setting == "ai.fallback_model" else "ai.base_url"
        remedy = f'Write it like "openai:{name or model}", or set {url}'
        raise RequirementUnmet(Unusable(f"{setting}: {quoted(model)} names no provider", remedy))
    if not name.strip() or not provider.strip():
        remedy = 'Write it like "openai:gpt-5-mini"'
        raise RequirementUnmet(Unusable(f"{setting}: {quoted(model)} names no model", remedy))
    return Endpoint(setting=setting, label=model, provider=provider, name=name, base_url=base_url, api_key=api_key)


def _with_key(endpoint: Endpoint, option: str | None, environ: Mapping[str, str]) -> Endpoint:
    """The endpoint, if it has what its provider wants. `option` of [ai] can give it a key; None: only the environment.

    A base_url may do without a key.
    """
    variables = KEY_VARIABLES.get(endpoint.vendor, ())
    if endpoint.base_url or endpoint.api_key or not variables or any(map(environ.get, variables)):
        return endpoint
    variable, label = variables[0], quoted(endpoint.label)
    if option is not None:
        meaning = f"the key for {label}, from its provider's console (or set {variable})"
        raise RequirementUnmet(Missing(("ai", option), meaning))
    meaning = f"the key for {label} ({endpoint.setting}), which ai.api_key is not for"
    raise RequirementUnmet(Missing((variable,), meaning))


def model_urls(ai: AiSettings, personas: Sequence[PersonaSettings]) -> list[str]:
    """Where the configured models are asked, as far as the settings or the provider's name tell."""
    found: list[str] = []
    named = [(ai.model, ai.base_url), (ai.fallback_model, ai.fallback_base_url)]
    for model, base_url in [*named, *((persona.model, ai.base_url) for persona in personas)]:
        if model is not None and not is_offline(model):
            found.append(base_url or _PUBLIC_URLS.get(model.partition(":")[0], ""))
    return [url for url in dict.fromkeys(found) if url]
