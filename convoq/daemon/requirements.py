"""What each role cannot do without, and where to find it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from convoq.ai.endpoints import OFFLINE, endpoint_problems
from convoq.errors import ConfigError
from convoq.settings.options import DEFAULT_PERSONA, Options
from convoq.settings.problems import not_set

__all__ = ["OFFLINE", "ROLES", "Role", "missing_for", "require"]

Role = Literal["serve", "schedule", "work"]
ROLES: Final[tuple[Role, ...]] = ("serve", "schedule", "work")


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
        yield not_set(
            "server", "public_url", 'the https address under which Twilio reaches you: "https://bot.example.com"'
        )
    yield from _account(options)
    if not (options.twilio.auth_token or options.twilio.auth_tokens):
        yield not_set("twilio", "auth_token", "webhooks are signed with it; on the first page of console.twilio.com")


def _work(options: Options) -> Iterator[str]:
    yield from _account(options)
    if not (options.twilio.auth_token or options.twilio.api_key_sid):
        yield not_set(
            "twilio",
            "auth_token",
            "messages are sent with it; on the first page of console.twilio.com"
            " (or an API key: twilio.api_key_sid and twilio.api_key_secret)",
        )

    if options.twilio.api_key_sid and not options.twilio.api_key_secret:
        yield not_set(
            "twilio", "api_key_secret", "it belongs to twilio.api_key_sid and was shown when the key was made"
        )
    if options.twilio.api_key_secret and not options.twilio.api_key_sid:
        yield not_set("twilio", "api_key_sid", "starts with SK; it belongs to twilio.api_key_secret")


def _account(options: Options) -> Iterator[str]:
    if not options.twilio.account_sid:
        yield not_set("twilio", "account_sid", "starts with AC; on the first page of console.twilio.com")


def _ai(options: Options, environ: Mapping[str, str]) -> Iterator[str]:
    ai = options.ai
    own = {persona.name for persona in options.personas if persona.agent or persona.model}
    # A number that no persona is named for is answered by the default one.
    if ai.model is None and not own >= {DEFAULT_PERSONA, *(persona.name for persona in options.personas)}:
        yield not_set(
            "ai", "model", 'the model that writes the replies: "openai:gpt-5-mini", or "offline" to try convoq'
        )
    yield from endpoint_problems(ai, options.personas, environ)
