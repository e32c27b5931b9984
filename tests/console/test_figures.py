"""Figures of a span of days, for whoever looks back."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from convoq.conversations import figures
from convoq.conversations.acts import Acts
from convoq.db.transaction import Transaction
from tests.console.site import Api
from tests.handlers.house import BEN, OURS, House
from tests.stores import only_sqlite

DAY = 86_400_000
NEVER = {"accepted": 0, "answered_by_ai": 0, "replies": 0, "handed_over": 0}


async def read(api: Api, query: str = "") -> Any:
    reply = await api.get(f"/figures{query}", by="screen")
    assert reply.status == 200, reply.document
    return reply.document


@pytest.fixture
async def days(api: Api, house: House) -> Api:
    """Yesterday two were answered, after 2 s each, one of them after a draft was given up. Today Ben asks for a person
    and is answered by one after 90 s, and one message waits."""

    async def slow(_: object) -> str:
        house.clock.advance(2)
        house.wall.ahead += 2
        return "yes"

    async def interrupted(_: object) -> str:
        await house.hear_at_once("and on Sunday?", sender="whatsapp:+15551230003")
        return "given up"

    house.wall.ahead = (DAY - house.wall.now() % DAY + DAY / 2) / 1000  # noon
    house.responder.script = [slow, interrupted, slow]
    for sender in ("whatsapp:+15551230001", "whatsapp:+15551230003"):
        await house.hear("are you open?", sender=sender)
        await house.settle()
    house.clock.advance(86_400)
    house.wall.ahead += 86_400
    marta = Acts(house.database, house.wall, "Marta", lambda *_: None)
    await house.hear_at_once("hello", sender=BEN)
    [(chat,)] = await house.rows("SELECT max(id) FROM conversations")
    await marta.leave(chat)
    house.clock.advance(90)
    house.wall.ahead += 90
    await marta.reply(chat, "Here I am.")
    await house.hear_at_once("is anybody there?", sender="whatsapp:+15551230004")
    return api


async def test_each_day_has_what_came_and_what_became_of_it(days: Api, house: House) -> None:
    found = await read(days)
    assert (len(found["days"]), found["to"]) == (30, found["days"][-1]["date"])
    yesterday, today = found["days"][-2:]
    assert {name: yesterday[name] for name in ("accepted", "answered_by_ai", "unanswered", "replies", "opened")} == {
        "accepted": 3, "answered_by_ai": 3, "unanswered": 0, "replies": 2, "opened": 2,
    }  # fmt: skip
    assert (yesterday["reply_p50_seconds"], yesterday["superseded"], yesterday["drafts"]) == (2.0, 1, 3)
    assert (today["accepted"], today["answered_by_people"], today["unanswered"]) == (2, 1, 1)
    assert (today["handed_over"], today["opened"], today["by_ai_alone"]) == (1, 2, 1)
    assert found["handovers"] == [
        {"reason": "other", "count": 1, "taken": 1, "waiting": 0, "taken_p50_seconds": 90.0, "taken_p95_seconds": 90.0}
    ]
    assert (found["totals"]["accepted"], found["totals"]["reply_p95_seconds"]) == (5, 2.0)
    assert sum(minute["accepted"] for minute in found["last_hour"]) == 2
    assert sum(cost["requests"] for cost in found["costs"]) == 3
    assert found["totals"]["unpriced_requests"] == 3


@only_sqlite
async def test_a_span_a_number_and_a_persona_choose(days: Api, house: House) -> None:
    await house.hear_at_once("hello", sender=BEN, to="whatsapp:+15550008888")
    date = dt.date.fromisoformat((await read(days))["to"])
    alone = await read(days, f"?from={date - dt.timedelta(days=1)}&to={date - dt.timedelta(days=1)}")
    assert ([day["accepted"] for day in alone["days"]], alone["totals"]["accepted"]) == ([3], 3)
    assert (await read(days, "?number=whatsapp:%2B15550008888"))["totals"]["accepted"] == 1
    assert (await read(days, f"?number={OURS.replace('+', '%2B')}"))["totals"]["accepted"] == 5
    assert (await read(days, "?persona=nobody"))["totals"]["accepted"] == 0
    assert (await read(days, "?persona=default"))["totals"]["accepted"] == 6
    empty = await read(days, "?from=2020-01-01&to=2020-01-02")
    assert {name: empty["totals"][name] for name in NEVER} == NEVER


@only_sqlite
async def test_what_is_no_span_is_refused(days: Api) -> None:
    for query in ("?from=2026-02-01&to=2026-01-01", "?from=2020-01-01&to=2026-01-01", "?number=%2B1", "?from=soon"):
        assert (await days.get(f"/figures{query}")).problem == (400, "invalid")


@only_sqlite
async def test_only_what_lies_in_the_span_is_read(house: House) -> None:
    for number in range(40):
        await house.hear_at_once(f"hello {number}", sender=f"whatsapp:+1555123{1000 + number}")
        house.clock.advance(60)
    [(first, last)] = await house.rows("SELECT min(at), max(at) FROM messages")

    def ids(tx: Transaction, start: int, end: int) -> tuple[int, int]:
        return figures._ids(tx, "messages", "at", figures.Span(start=start, end=end))

    assert await house.database.read(ids, first + 10 * 60_000, first + 12 * 60_000) == (11, 12)
    assert await house.database.read(ids, first, last + 1) == (1, 40)
    assert await house.database.read(ids, last + 1, last + 2) == (41, 40)
