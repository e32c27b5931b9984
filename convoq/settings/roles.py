"""What each role cannot do without, and where to find it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from convoq.errors import ConfigError
from convoq.settings.options import Options
from convoq.settings.problems import quoted
from convoq.settings.schema import env_name

Role = Literal["serve", "schedule", "work"]
ROLES: Final[tuple[Role, ...]] = ("serve", "schedule", "work")

OFFLINE: Final = "offline"

#: Providers that want a key, and the variable in which their own SDK looks for it.
_CLOUD: Final = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}


def require(options: Options, role: Role, *, environ: Mapping[str, str] = os.environ) -> None:
    """Returns when the role can start. Raises ConfigError with one line for everything that it misses."""
    if missing := missing_for(options, role, environ=environ):
        raise ConfigError("\n".join(missing))


def missing_for(options: Options, role: Role, *, environ: Mapping[str, str] = os.environ) -> list[str]:
    """What the role misses, a line each: what to set, how, and where to find it."""
    match role:
        case "serve":
            return list(_serve(options))
        case "work":
            return [*_work(options), *_ai(options, environ)]
        case _:
            return []


def _serve(options: Options) -> Iterator[str]:
    if not options.server.public_url:
        yield _line(
            "server", "public_url", 'the https address under which Twilio reaches you: "https://bot.example.com"'
        )
    yield from _account(options)
    if not (options.twilio.auth_token or options.twilio.auth_tokens):
        yield _line("twilio", "auth_token", "webhooks are signed with it; on the first page of console.twilio.com")


def _work(options: Options) -> Iterator[str]:
    yield from _account(options)
    if not (options.twilio.auth_token or options.twilio.api_key_sid):
        yield _line(
            "twilio",
            "auth_token",
            "messages are sent with it; on the first page of console.twilio.com"
            " (or an API key: twilio.api_key_sid and twilio.api_key_secret)",
        )

    if options.twilio.api_key_sid and not options.twilio.api_key_secret:
        yield _line("twilio", "api_key_secret", "it belongs to twilio.api_key_sid and was shown when the key was made")
    if options.twilio.api_key_secret and not options.twilio.api_key_sid:
        yield _line("twilio", "api_key_sid", "starts with SK; it belongs to twilio.api_key_secret")


def _account(options: Options) -> Iterator[str]:
    if not options.twilio.account_sid:
        yield _line("twilio", "account_sid", "starts with AC; on the first page of console.twilio.com")


def _ai(options: Options, environ: Mapping[str, str]) -> Iterator[str]:
    ai = options.ai
    own = {persona.name for persona in options.personas if persona.agent or persona.model}
    # A number that no persona is named for is answered by "default".
    if ai.model is None and not own >= {"default", *(persona.name for persona in options.personas)}:
        yield _line("ai", "model", 'the model that writes the replies: "openai:gpt-5-mini", or "offline" to try convoq')
    models = [("ai.model", ai.model), *((f"persona {quoted(it.name)}: model", it.model) for it in options.personas)]
    for name, model in models:
        if model and not ai.base_url:
            yield from _keyless(name, model, bool(ai.api_key), "api_key", environ)
    if ai.fallback_model and not ai.fallback_base_url:
        has_key = bool(ai.fallback_api_key or ai.api_key)
        yield from _keyless("ai.fallback_model", ai.fallback_model, has_key, "fallback_api_key", environ)


def _keyless(name: str, model: str, has_key: bool, option: str, environ: Mapping[str, str]) -> Iterator[str]:
    provider, named, _ = model.partition(":")
    if model == OFFLINE:
        return
    if not named:
        base_url = option.replace("api_key", "base_url")
        yield f'{name}: {quoted(model)} names no provider. Write it like "openai:{model}", or set ai.{base_url}'
        return
    variable = _CLOUD.get(provider.partition("-")[0])
    if variable and not has_key and not environ.get(variable):
        yield _line("ai", option, f"the key for {quoted(model)}, from its provider's console (or set {variable})")


def _line(section: str, option: str, meaning: str) -> str:
    variable = env_name((section, option))
    return f"{section}.{option} is not set: {meaning}. Set {option} in [{section}] of convoq.toml, or {variable}"
