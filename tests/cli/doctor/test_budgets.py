"""The doctor's checks of what answers may cost."""

from __future__ import annotations

import pytest

from tests.cli.doctor.harness import findings, whole
from tests.cli.scenes import OURS, Place
from tests.cli.test_costs import BUDGETS, reach

KEY = "api_key = 'k'"


def test_that_nothing_is_bounded_is_a_note(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole())

    budgets = findings(place, capsys)["budgets"]

    assert (budgets["level"], budgets["detail"]) == ("note", "none is set: what answers may cost is not bounded")


def test_budgets_that_hold_nothing_back_are_well(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole() + BUDGETS)

    assert findings(place, capsys)["budgets"]["detail"] == "2 ceilings, none is reached"


def test_one_that_is_used_up_is_a_warning_that_says_until_when(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    reach(place, f"number:{OURS}")

    budgets = findings(place, capsys)["budgets"]

    assert budgets["level"] == "warn"
    assert "may cost in a day is used up until" in budgets["detail"]


def test_a_price_for_a_model_that_is_not_used_is_a_note(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    price = "[[prices]]\nmodel = 'openai:gpt-9'\ninput = 1\noutput = 2\n"
    place.configure(whole(model="openai:gpt-5-mini", ai=KEY) + price)

    prices = findings(place, capsys)["prices"]

    assert (prices["level"], prices["detail"]) == ("note", '"openai:gpt-9" has one, and nothing asks it')


def test_a_model_without_a_price_is_a_note(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole(model="openai:gpt-9", ai=KEY))

    prices = findings(place, capsys)["prices"]

    assert prices["detail"] == 'what "openai:gpt-9" costs is not known: convoq costs counts its tokens alone'


def test_a_known_model_needs_no_word(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.configure(whole(model="openai:gpt-5-mini", ai=KEY))

    assert "prices" not in findings(place, capsys)
