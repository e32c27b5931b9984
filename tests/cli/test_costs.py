"""`convoq costs`, and what status and doctor say of budgets."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from convoq.db import Database
from tests.cli.scenes import ANA, OURS, Place, announce, receive

ADD = """
    INSERT INTO model_calls (conversation_id, through_id, model, outcome, input_tokens, cached_tokens, output_tokens,
        unheard_tokens, duration_ms, cost, currency, day, at)
    VALUES (1, 1, ?, 'ok', 100, 40, 20, 5, 1, ?, 'USD', ?, ?)
"""
DAY_MS = 86_400_000


async def spend(database: Database, *calls: tuple[str, int | None, int]) -> None:
    """Each is a model, its cost, and how many days ago it was asked."""
    await receive(database, "hello")
    now = database.clock.now()
    rows = [(model, cost, f"2026-11-{20 - ago:02}", now - ago * DAY_MS) for model, cost, ago in calls]
    await database.write(lambda tx: tx.executemany(ADD, rows))


def document(place: Place, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert place.run("costs", "--json", *arguments) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_costs_are_added_up_by_day(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: spend(database, ("m", 10, 0), ("m", 5, 0), ("m", 7, 2), ("m", 1, 8)))

    assert [(line["day"], line["requests"], line["cost_millionths"]) for line in document(place, capsys)["costs"]] == [
        ("2026-11-18", 1, 7),
        ("2026-11-20", 2, 15),
    ]


def test_costs_are_added_up_by_model_the_dearest_first(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: spend(database, ("a", 1, 0), ("b", 7, 0), ("own", None, 0)))

    costs = document(place, capsys, "--by", "model")["costs"]

    assert [(line["model"], line["cost_millionths"], line["unpriced_requests"]) for line in costs] == [
        ("b", 7, 0), ("a", 1, 0), ("own", 0, 1),
    ]  # fmt: skip
    assert costs[0] == {
        "model": "b", "requests": 1, "input_tokens": 100, "cached_tokens": 40, "output_tokens": 20,
        "cut_off_tokens": 5, "cost_millionths": 7, "currency": "USD", "unpriced_requests": 0,
    }  # fmt: skip


@pytest.mark.parametrize(("by", "address"), [("number", OURS), ("contact", ANA)])
def test_addresses_are_masked_unless_asked_for(
    by: str, address: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: spend(database, ("m", 10, 0)))

    [masked] = document(place, capsys, "--by", by)["costs"]
    [full] = document(place, capsys, "--by", by, "--full")["costs"]

    assert "***" in masked[by]
    assert full[by] == address.removeprefix("whatsapp:")


def test_people_see_money_with_its_currency_and_what_is_not_known(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.prepare(lambda database: spend(database, ("m", 1_234_567, 0), ("own", None, 0)))

    place.run("costs", "--by", "model")

    said = capsys.readouterr()
    assert "1.2345 USD" in said.out
    assert "unknown" in said.out
    assert "no price in [[prices]]" in said.err


def test_without_a_request_there_is_nothing_to_add_up(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.run("costs")

    assert capsys.readouterr().out == "No model was asked in that time.\n"


REACHED = "INSERT INTO spending (period, scope, currency, refused) VALUES (?, ?, 'USD', 1)"
BUDGETS = "[budgets]\ntokens_per_number_day = 1_000_000\ntokens_per_contact_day = 1_000_000\n"


def reach(place: Place, scope: str) -> None:
    """A ceiling that holds something back today, also if midnight is near."""
    today = datetime.now(UTC).date()
    place.configure(BUDGETS)
    for day in (today, today + timedelta(days=1)):
        place.execute(REACHED, day.isoformat(), scope)


def test_a_numbers_budget_that_is_used_up_is_a_problem(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(announce)
    reach(place, f"number:{OURS}")

    assert place.run("status", "--exit-code") == 1

    assert "may cost in a day is used up until" in capsys.readouterr().out


def test_people_whose_budget_is_used_up_are_counted(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(announce)
    reach(place, "contact:1")

    assert place.run("status", "--exit-code") == 1

    assert "1 contact reached it: what a person may cost in a day is used up until" in capsys.readouterr().out


def test_a_budget_that_is_no_longer_set_holds_nothing_back(place: Place) -> None:
    place.prepare(announce)
    reach(place, f"number:{OURS}")
    place.configure("")

    assert place.run("status", "--exit-code") == 0


def test_figures_add_up_the_days(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.prepare(lambda database: receive(database, "Hello", sid=1, reply="Hi, Ana!"))
    assert place.run("figures") == 0
    header, row = capsys.readouterr().out.splitlines()
    assert (header.split()[0], row.split()[1:4]) == ("DAY", ["1", "1", "0"])
    assert place.run("figures", "--json", "--from", "2020-01-01", "--to", "2020-01-01") == 0
    assert json.loads(capsys.readouterr().out)["totals"]["accepted"] == 0
    assert place.run("figures", "--from", "2020-01-01", "--to", "2020-01-01") == 0
    assert capsys.readouterr().out == "Nothing came from 2020-01-01 to 2020-01-01.\n"
    assert place.run("figures", "--from", "soon") == 2
    assert place.run("figures", "--number", "whatsapp:+1") == 1
