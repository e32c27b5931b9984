"""Real workers, killed while their requests are under way: what the model's provider bills stays within the budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from convoq.loopback.faults import ModelFault
from convoq.loopback.model import LoopbackModel
from tests.process.harness import LONGEST_WAIT, Site, open_site

pytestmark = [pytest.mark.process, pytest.mark.long]

PEOPLE = 16
ANSWER = 100  #: ai.max_output_tokens
CEILING = 8_000  #: less than all answers cost

Rows = Callable[[str], Sequence[tuple[Any, ...]]]


@pytest.fixture
async def model() -> AsyncIterator[LoopbackModel]:
    async with LoopbackModel(reply=lambda _: "x" * (4 * ANSWER - 4)) as model:
        yield model


def bounded(site: Site, model: LoopbackModel) -> None:
    site.settings |= {
        "CONVOQ_AI__MODEL": "openai:gpt-5-mini",
        "CONVOQ_AI__BASE_URL": model.base_url,
        "CONVOQ_AI__API_KEY": "k",
        "CONVOQ_AI__MAX_OUTPUT_TOKENS": str(ANSWER),
        "CONVOQ_BUDGETS__TOKENS_PER_NUMBER_DAY": str(CEILING),
        # What may have killed a worker runs alone, one lane after the other: so few are enough.
        "CONVOQ_WORK__CONCURRENCY": "3",
    }


def billed(model: LoopbackModel) -> int:
    """Every request, whatever came of it, with all that it was allowed to write."""
    texts = [sum(len(message.text) for message in request.messages) for request in model.requests]
    return sum(length // 4 + ANSWER for length in texts)


async def spend(site: Site, model: LoopbackModel, rows: Rows) -> None:
    """Worker after worker is killed at work, and a last one goes on until nothing more may be asked."""
    await site.serve()
    for number in range(PEOPLE):
        assert (await site.say("Are you open? " * 20, sender=f"whatsapp:+1555123{number:04}")).status == 200
    model.mode = ModelFault.HANG
    for _ in range(2):
        asked = len(model.requests)
        worker = await site.start("work")
        await asyncio.wait_for(model.wait_for_requests(asked + 1), LONGEST_WAIT)
        worker.kill()
        await worker.wait()
    model.mode = None
    await site.start("work")
    await site.until(lambda: rows("SELECT 1 FROM spending WHERE refused = 1") != [], "the budget is reached")
    await site.until(lambda: rows("SELECT 1 FROM model_calls WHERE outcome = 'pending'") == [], "all has ended")


def within_the_budget(model: LoopbackModel, rows: Rows) -> None:
    [(tokens, held)] = rows("SELECT tokens, tokens_held FROM spending")
    assert held == 0
    assert billed(model) <= tokens <= CEILING
    assert rows("SELECT count(*) FROM model_calls WHERE outcome = 'lost'")[0][0] > 0
    assert rows("SELECT count(*) FROM messages WHERE direction = 'in' AND outcome IS NULL")[0][0] > 0


async def test_killed_workers_do_not_exceed_a_budget(site: Site, model: LoopbackModel) -> None:
    bounded(site, model)
    await spend(site, model, site.rows)
    within_the_budget(model, site.rows)


async def test_killed_workers_do_not_exceed_a_budget_on_a_server(
    tmp_path: Path, model: LoopbackModel, migrated_postgres_url: str
) -> None:
    def rows(sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(migrated_postgres_url) as connection:
            return connection.execute(sql.encode()).fetchall()

    async with open_site(tmp_path) as site:
        site.settings.pop("CONVOQ_DATABASE__PATH")
        site.settings["CONVOQ_DATABASE__URL"] = migrated_postgres_url
        bounded(site, model)
        await spend(site, model, rows)
        within_the_budget(model, rows)
