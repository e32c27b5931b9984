"""Which model is meant by a name in the settings, where it is asked, and with which key."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from convoq.errors import ConfigError
from convoq.settings import AiSettings

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

_KEY_VARIABLES: Final = {"openai": ("OPENAI_API_KEY",), "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A model and where it is asked."""

    setting: str  #: where it was configured, for messages: "ai.model"
    label: str  #: as it was configured, for people: "openai:gpt-5-mini"
    provider: str  #: openai, anthropic, openai-compatible, or a prefix that Pydantic AI knows
    name: str  #: what the provider calls it
    base_url: str | None = None
    api_key: SecretStr | None = field(default=None, repr=False)


def is_offline(model: str | None) -> bool:
    return model is None or model == OFFLINE


def main_endpoint(ai: AiSettings) -> Endpoint | None:
    """ai.model; None when it is not set or "offline". Raises ConfigError."""
    if ai.model is None or is_offline(ai.model):
        return None
    return _checked(_endpoint("ai.model", ai.model, ai.base_url, ai.api_key), "ai.base_url", "ai.api_key")


def persona_endpoint(ai: AiSettings, setting: str, model: str) -> Endpoint:
    """A persona's own model. ai.base_url and ai.api_key are for it only when ai.model is not of another provider."""
    if (main := main_endpoint(ai)) is not None and _foreign(model, main):
        return _checked(_endpoint(setting, model, None, None), "ai.base_url", "ai.api_key")
    return _checked(_endpoint(setting, model, ai.base_url, ai.api_key), "ai.base_url", "ai.api_key")


def fallback_endpoint(ai: AiSettings) -> Endpoint | None:
    """ai.fallback_model; None when it is not set. ai.api_key is shared only with the same provider."""
    if ai.fallback_model is None:
        return None
    if is_offline(ai.fallback_model):
        raise ConfigError('ai.fallback_model: "offline" is a demo, not a fallback; name a model or leave it out')
    endpoint = _endpoint("ai.fallback_model", ai.fallback_model, ai.fallback_base_url, ai.fallback_api_key)
    main = main_endpoint(ai)
    if endpoint.api_key is None and (main is None or endpoint.provider == main.provider):
        endpoint = _endpoint("ai.fallback_model", ai.fallback_model, ai.fallback_base_url, ai.api_key)
    return _checked(endpoint, "ai.fallback_base_url", "ai.fallback_api_key")


def _foreign(model: str, main: Endpoint) -> bool:
    # Sending one provider's key to another would leak it.
    prefix, colon, _ = model.partition(":")
    if not colon:
        return False
    if main.base_url is None:
        return _endpoint("", model, None, None).provider != main.provider
    return prefix in ("openai", "anthropic") and prefix != main.provider


def _endpoint(setting: str, model: str, base_url: str | None, api_key: SecretStr | None) -> Endpoint:
    prefix, colon, name = model.partition(":")
    if base_url is not None:
        provider = _WITH_BASE_URL.get(prefix) if colon else None
        provider, name = (provider, name) if provider else (COMPATIBLE, model)
    elif colon:
        provider = "openai" if prefix == "openai-chat" else prefix
    else:
        raise ConfigError(
            f'{setting} "{model}": name its provider, e.g. "openai:{model}", or set the base_url that serves it'
        )
    if not name.strip() or not provider.strip():
        raise ConfigError(f'{setting} "{model}": no model name; expected "provider:name"')
    return Endpoint(setting=setting, label=model, provider=provider, name=name, base_url=base_url, api_key=api_key)


def _checked(endpoint: Endpoint, url_setting: str, key_setting: str) -> Endpoint:
    if endpoint.base_url is not None:
        parts = urlsplit(endpoint.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f'{url_setting} "{endpoint.base_url}": not an http(s) URL')
    elif endpoint.api_key is None and not _key_in_environment(endpoint.provider):
        raise ConfigError(
            f'{endpoint.setting} "{endpoint.label}": no API key; set {key_setting} or the environment variable '
            f"{_KEY_VARIABLES[endpoint.provider][0]}"
        )
    return endpoint


def _key_in_environment(provider: str) -> bool:
    variables = _KEY_VARIABLES.get(provider)
    return variables is None or any(os.environ.get(variable) for variable in variables)
