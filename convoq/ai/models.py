"""Builds a Pydantic AI model from an endpoint: shared HTTP client, no retries of its own."""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import Any, Final

import httpx2
from pydantic_ai.exceptions import UserError
from pydantic_ai.models import Model, infer_model
from pydantic_ai.profiles import ModelProfile, merge_profile
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers import Provider, infer_provider_class

from convoq.ai.endpoints import COMPATIBLE, Endpoint
from convoq.errors import ConfigError
from convoq.text import first_line

# Servers that need no key still want the header to hold something.
NO_KEY = "no-key-set"


# Pydantic AI takes an unclosed <think> for text, without its tag, and one in a code span for a thought. Told to look
# for tags that hardly any model writes, it leaves the text whole to the gate of ai/reply.py.
_THINKING_TAGS: Final = ("<|begin_of_thought|>", "<|end_of_thought|>")

# The chat templates of Qwen 3.5 and others raise an error at a second one: such a model would never answer.
_ONE_SYSTEM_MESSAGE: Final = OpenAIModelProfile(openai_chat_supports_multiple_system_messages=False)


def adapt_profile(model: Model[Any]) -> Model[Any]:
    """The same model: shown one system message at most, and its text comes as it was written."""
    if isinstance(getattr(type(model), "profile", None), cached_property):
        model.profile = merge_profile(model.profile, ModelProfile(thinking_tags=_THINKING_TAGS), _ONE_SYSTEM_MESSAGE)
    return model


def build_model(endpoint: Endpoint, client: httpx2.AsyncClient) -> Model[Any]:
    """The model of an endpoint. Only its own provider's SDK is imported. Raises ConfigError."""
    try:
        match endpoint.provider:
            case "openai":
                return _openai(endpoint, client)
            case "openai-compatible":
                return _compatible(endpoint, client)
            case "anthropic":
                return _anthropic(endpoint, client)
            case _:
                return _by_prefix(endpoint, client)
    except (UserError, ImportError, ValueError) as error:
        raise ConfigError(f'{endpoint.setting} "{endpoint.label}": {first_line(error)}') from error


def _openai(endpoint: Endpoint, client: httpx2.AsyncClient) -> Model[Any]:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    from convoq.ai.verbatim import VerbatimClient

    # Without one the SDK would send the environment's OPENAI_API_KEY wherever base_url leads.
    key = _key(endpoint) or (NO_KEY if endpoint.base_url else None)
    sdk = VerbatimClient(base_url=endpoint.base_url, api_key=key, http_client=client, max_retries=0)
    return OpenAIChatModel(endpoint.name, provider=OpenAIProvider(openai_client=sdk))


def _compatible(endpoint: Endpoint, client: httpx2.AsyncClient) -> Model[Any]:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

    from convoq.ai.verbatim import VerbatimClient

    assert endpoint.base_url is not None  # noqa: S101  # what makes an endpoint of this kind
    # Every server of this dialect knows max_tokens; many ignore max_completion_tokens without a word.
    profile = OpenAIModelProfile(openai_chat_supports_max_completion_tokens=False)
    sdk = VerbatimClient(
        base_url=endpoint.base_url, api_key=_key(endpoint) or NO_KEY, http_client=client, max_retries=0
    )
    return OpenAIChatModel(
        endpoint.name, provider=OpenAICompatibleProvider(COMPATIBLE, openai_client=sdk), profile=profile
    )


def _anthropic(endpoint: Endpoint, client: httpx2.AsyncClient) -> Model[Any]:
    from anthropic import AsyncAnthropic
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    # The SDK adds /v1 itself, unlike OpenAI's.
    base_url = endpoint.base_url.rstrip("/").removesuffix("/v1") if endpoint.base_url else None
    key = _key(endpoint) or (NO_KEY if base_url else None)
    sdk = AsyncAnthropic(api_key=key, base_url=base_url, http_client=client, max_retries=0)
    return AnthropicModel(endpoint.name, provider=AnthropicProvider(anthropic_client=sdk))


def _by_prefix(endpoint: Endpoint, client: httpx2.AsyncClient) -> Model[Any]:
    try:
        infer_provider_class(endpoint.provider)
    except ValueError as error:
        raise ConfigError(
            f'{endpoint.setting} "{endpoint.label}": no provider is called "{endpoint.provider}"; for a model on a '
            "server of your own, set its base_url"
        ) from error

    def provider_of(prefix: str) -> Provider[Any]:
        provider_class = infer_provider_class(prefix)
        accepted = inspect.signature(provider_class.__init__).parameters
        options: dict[str, Any] = {}
        if "api_key" in accepted and (key := _key(endpoint)):
            options["api_key"] = key
        # Some SDKs still want the client of the older httpx, which knows neither our proxies nor our limits.
        if "http_client" in accepted and "httpx.AsyncClient" not in str(accepted["http_client"].annotation):
            options["http_client"] = client
        return provider_class(**options)

    return infer_model(f"{endpoint.provider}:{endpoint.name}", provider_of)


def _key(endpoint: Endpoint) -> str | None:
    return endpoint.api_key.get_secret_value() if endpoint.api_key else None
