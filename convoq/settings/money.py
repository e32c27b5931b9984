"""What models cost, and how much that may be."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from convoq.settings.section import Section

T = TypeVar("T")

LARGEST: Final = 10**12  #: of a ceiling; sums of millionths stay far below what a database's integers hold


def _ceiling(value: T) -> T:
    # When it is a number: the environment has texts.
    if isinstance(value, int | Decimal) and value <= 0:
        raise PydanticCustomError(
            "ceiling",
            "must be more than 0, for nobody would get an answer: leave it out for no ceiling, or stop convoq work",
        )
    return value


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("boolean", "must be a number")
    return value


def _millionths(value: Decimal | None) -> Decimal | None:
    if value is not None and value != value.quantize(Decimal("0.000001")):
        raise PydanticCustomError("millionths", "must have at most six decimals")
    return value


TokenCeiling = Annotated[int | None, Field(le=LARGEST), AfterValidator(_ceiling), BeforeValidator(_number)]
MoneyCeiling = Annotated[
    Decimal | None,
    Field(le=1_000_000),
    AfterValidator(_millionths),
    AfterValidator(_ceiling),
    BeforeValidator(_number),
]
Price = Annotated[Decimal, Field(ge=0, le=1_000_000), AfterValidator(_millionths), BeforeValidator(_number)]


class BudgetSettings(Section):
    """What models may cost: no request is sent that could exceed it. Nothing is bounded that is not set."""

    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    """The currency of [[prices]] and of every ceiling below. The prices that come with convoq are in USD: with another
    currency each model needs a price of yours. A change of it begins the counting anew."""

    timezone: str = "UTC"
    """Where days and months begin at midnight, e.g. "Europe/Madrid"."""

    tokens_per_contact_day: TokenCeiling = Field(default=None, examples=[200_000])
    """Tokens, read and written, that one person's messages may cost in a day, by WhatsApp and by SMS together."""

    cost_per_contact_day: MoneyCeiling = Field(default=None, examples=[0.5])
    """The same in money."""

    tokens_per_number_day: TokenCeiling = Field(default=None, examples=[5_000_000])
    """Tokens that the messages to each of your numbers may cost in a day, by WhatsApp and by SMS together."""

    cost_per_number_day: MoneyCeiling = Field(default=None, examples=[10.0])
    """The same in money."""

    tokens_per_number_month: TokenCeiling = Field(default=None, examples=[100_000_000])
    """Tokens that the messages to each of your numbers may cost in a month."""

    cost_per_number_month: MoneyCeiling = Field(default=None, examples=[150.0])
    """The same in money."""

    @property
    def has_money(self) -> bool:
        """Whether a ceiling is one in money."""
        ceilings = (self.cost_per_contact_day, self.cost_per_number_day, self.cost_per_number_month)
        return any(ceiling is not None for ceiling in ceilings)


class PriceSettings(Section):
    """What a model costs, in budgets.currency; before, or instead of, the prices that come with convoq."""

    model: str = Field(examples=["openai:gpt-5-mini"])
    """The model as ai.model and the like name it."""

    input: Price = Field(examples=[0.25])
    """For a million tokens that it reads; 0 where it costs nothing."""

    cached_input: Price | None = Field(default=None, examples=[0.025])
    """For a million of those that its provider had in its cache; default: as input."""

    output: Price = Field(examples=[2.0])
    """For a million tokens that it writes."""
