"""What a request to a model costs, in whole millionths of a currency."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from convoq.ai.endpoints import is_offline
from convoq.settings import AiSettings, PersonaSettings, PriceSettings

MILLION: Final = 1_000_000
SHIPPED_CURRENCY: Final = "USD"
#: When the table was compared with what the providers publish, and with the data of genai-prices 0.2.3.
SHIPPED_ON: Final = "2026-11-26"

#: USD for a million tokens: read, of those in the provider's cache, written. Models whose longer prompts cost more have
#: the price of the shorter ones: what convoq shows a model is far below that limit.
SHIPPED: Final[Mapping[str, tuple[str, str, str]]] = {
    "openai:gpt-5.4": ("2.5", "0.25", "15"),
    "openai:gpt-5.4-mini": ("0.75", "0.075", "4.5"),
    "openai:gpt-5.4-nano": ("0.2", "0.02", "1.25"),
    "openai:gpt-5.2": ("1.75", "0.175", "14"),
    "openai:gpt-5.1": ("1.25", "0.125", "10"),
    "openai:gpt-5": ("1.25", "0.125", "10"),
    "openai:gpt-5-mini": ("0.25", "0.025", "2"),
    "openai:gpt-5-nano": ("0.05", "0.005", "0.4"),
    "openai:gpt-4.1": ("2", "0.5", "8"),
    "openai:gpt-4.1-mini": ("0.4", "0.1", "1.6"),
    "openai:gpt-4.1-nano": ("0.1", "0.025", "0.4"),
    "openai:gpt-4o": ("2.5", "1.25", "10"),
    "openai:gpt-4o-mini": ("0.15", "0.075", "0.6"),
    "openai:o4-mini": ("1.1", "0.275", "4.4"),
    "anthropic:claude-opus-5-5": ("4", "0.2", "20"),
    "anthropic:claude-opus-5": ("5", "0.5", "25"),
    "anthropic:claude-opus-4-5": ("5", "0.5", "25"),
    "anthropic:claude-sonnet-5-5": ("2", "0.1", "10"),
    "anthropic:claude-sonnet-5": ("2", "0.2", "10"),
    "anthropic:claude-sonnet-4-5": ("3", "0.3", "15"),
    "anthropic:claude-haiku-5-5": ("0.1", "0.01", "0.5"),
    "anthropic:claude-haiku-4-5": ("1", "0.1", "5"),
    "google:gemini-2.5-flash": ("0.3", "0.03", "2.5"),
    "google:gemini-2.5-flash-lite": ("0.1", "0.01", "0.4"),
    "google:gemini-2.5-pro": ("1.25", "0.125", "10"),
}

# Prefixes of one provider's dialects, and the date at the end of a model's name that fixes its version.
_PROVIDERS: Final = {
    "openai-chat": "openai", "openai-responses": "openai", "google-gla": "google", "google-vertex": "google",
}  # fmt: skip
_VERSION: Final = re.compile(r"-(?:20\d{6}|20\d\d-\d\d-\d\d)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Millionths of the currency for a million tokens."""

    input: int
    cached_input: int
    output: int

    def cost(self, *, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> int:
        """Millionths, rounded up: a sum of many is never less than what they cost. The cached are of the input's."""
        cached = min(cached_tokens, input_tokens)
        total = (input_tokens - cached) * self.input + cached * self.cached_input + output_tokens * self.output
        return -(-total // MILLION)


class PriceList:
    """The prices in force: those of the settings, then those that come with convoq, which are in USD."""

    def __init__(self, given: Sequence[PriceSettings], currency: str) -> None:
        self.currency = currency
        self._given = {one.model: _given(one) for one in given}

    def of(self, model: str) -> Price | None:
        """None: it is not known what the model costs."""
        if (price := self._given.get(model) or self._given.get(_VERSION.sub("", model))) is not None:
            return price
        return shipped_price(model) if self.currency == SHIPPED_CURRENCY else None


def named_models(ai: AiSettings, personas: Sequence[PersonaSettings]) -> dict[str, str]:
    """The models that the settings name, and where; own agents may have others."""
    named = [("ai.model", ai.model), ("ai.fallback_model", ai.fallback_model)]
    named += [(f"personas.{one.name}.model", one.model) for one in personas]
    return {model: where for where, model in reversed(named) if model is not None and not is_offline(model)}


def shipped_price(model: str) -> Price | None:
    """In USD."""
    provider, _, name = model.partition(":")
    key = f"{_PROVIDERS.get(provider, provider)}:{name}"
    numbers = SHIPPED.get(key) or SHIPPED.get(_VERSION.sub("", key))
    return (
        None
        if numbers is None
        else Price(**dict(zip(("input", "cached_input", "output"), map(_millionths, numbers), strict=True)))
    )


def _given(price: PriceSettings) -> Price:
    cached = price.input if price.cached_input is None else price.cached_input
    return Price(input=_millionths(price.input), cached_input=_millionths(cached), output=_millionths(price.output))


def _millionths(amount: Decimal | str) -> int:
    return int(Decimal(amount) * MILLION)
