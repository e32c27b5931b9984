"""What is rare is found without a walk past the many conversations that it is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from convoq.conversations import queries, search
from convoq.conversations.search import ConversationFilter
from convoq.conversations.states import Owner, Status
from convoq.db import Database
from convoq.db.transaction import Transaction
from convoq.operating.inbox import View, seen_as
from tests.query_plans.growth import ROWS, grow
from tests.query_plans.test_history import steps_of

RARE = {
    "waiting": ConversationFilter(waiting=True),
    "failed": ConversationFilter(failed=True),
    "human": ConversationFilter(owners=(Owner.HUMAN,), statuses=(Status.ACTIVE, Status.IDLE)),
    "open": ConversationFilter(statuses=(Status.ACTIVE,)),
    **{view.value: seen_as(view, ConversationFilter(), "Marta") for view in (View.MINE, View.PERSON, View.AI)},
}


async def steps(database: Database, read: Callable[[Transaction], object]) -> int:
    await database.write(grow)
    return await database.read(lambda tx: steps_of(tx, read))


@pytest.mark.parametrize("where", RARE.values(), ids=RARE)
async def test_what_is_rare_costs_what_it_finds(database: Database, where: ConversationFilter) -> None:
    assert await steps(database, lambda tx: search.find(tx, where, 50, None, True)) < ROWS


async def test_the_conversations_of_a_person_cost_what_they_are(database: Database) -> None:
    assert await steps(database, lambda tx: queries._of_person(tx, "whatsapp:+16661000001", None, 20)) < ROWS


async def test_a_part_of_an_address_is_looked_for_among_people_alone(database: Database) -> None:
    where = ConversationFilter(address="6661000001")
    assert await steps(database, lambda tx: search.find(tx, where, 50, None, True)) < 10 * ROWS


async def test_a_page_of_all_reads_no_thread_and_no_person(database: Database) -> None:
    assert await steps(database, lambda tx: search.find(tx, ConversationFilter(), 50, None, True)) < 20 * ROWS
