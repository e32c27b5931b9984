"""What models cost."""

from __future__ import annotations

from decimal import Decimal

import pytest

from convoq.ai.prices import SHIPPED, Price, PriceList, shipped_price
from convoq.settings import PriceSettings

OWN = PriceSettings(model="openai:gpt-5-mini", input=Decimal("0.3"), output=Decimal(3))


def test_a_cost_is_in_whole_millionths_and_never_too_low() -> None:
    price = Price(input=250_000, cached_input=25_000, output=2_000_000)

    assert price.cost(input_tokens=1_000_000, output_tokens=1_000_000) == 2_250_000
    assert price.cost(input_tokens=1, output_tokens=0) == 1
    assert price.cost(input_tokens=0, output_tokens=0) == 0


def test_what_was_in_the_cache_is_a_part_of_the_input() -> None:
    price = Price(input=1_000_000, cached_input=100_000, output=0)

    assert price.cost(input_tokens=100, cached_tokens=90, output_tokens=0) == 19


@pytest.mark.parametrize(
    "model",
    ["openai:gpt-5-mini", "openai-responses:gpt-5-mini", "openai:gpt-5-mini-2025-08-07", "openai-chat:gpt-5-mini"],
)
def test_a_model_is_known_by_each_of_its_names(model: str) -> None:
    assert shipped_price(model) == Price(input=250_000, cached_input=25_000, output=2_000_000)


def test_a_price_of_ones_own_comes_first() -> None:
    prices = PriceList([OWN], "USD")

    assert prices.of("openai:gpt-5-mini") == Price(input=300_000, cached_input=300_000, output=3_000_000)
    assert prices.of("openai:gpt-5-nano") == shipped_price("openai:gpt-5-nano")


def test_in_another_currency_only_prices_of_ones_own_are_known() -> None:
    prices = PriceList([OWN], "EUR")

    assert prices.of("openai:gpt-5-mini") is not None
    assert prices.of("openai:gpt-5-nano") is None


def test_a_model_that_nobody_knows_has_no_price() -> None:
    assert PriceList([], "USD").of("llama3.2:3b") is None


@pytest.mark.parametrize("model", SHIPPED)
def test_each_price_that_comes_with_convoq_is_sound(model: str) -> None:
    price = shipped_price(model)

    assert price is not None
    assert 0 < price.cached_input <= price.input < price.output
