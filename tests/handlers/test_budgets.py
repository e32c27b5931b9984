"""What answers may cost: ceilings that hold, and what is said and kept where one is reached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from convoq.ai.base import CallBound, ModelCall, Reply, ReplyContext
from convoq.ai.prices import PriceList
from convoq.conversations.budgets import Budgets
from convoq.conversations.ceilings import BudgetRules, Ceiling
from convoq.conversations.costs import CostsBy, read_costs
from convoq.conversations.handing_over import HandoverRules
from convoq.conversations.notices import Notices, Silence
from convoq.conversations.pacing import Airtime, unlimited
from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from convoq.handlers import answer
from convoq.handlers.answer import Sentences
from convoq.settings import PriceSettings
from tests.clock import ManualClock
from tests.handlers.house import ANA, ANA_SMS, BEN, OUR_SMS, OURS, House, open_house
from tests.handovers import HANDOVER, NOBODY_LOOKS

DAY = 86_400.0
NOON = 1_764_158_400_000  # 2025-11-26, UTC
CALL = CallBound(model="test:model", input_tokens=60, most_input_tokens=80, output_tokens=20)
PRICES = PriceList([PriceSettings(model="test:model", input=Decimal(2), output=Decimal(10))], "USD")
SORRY = "Sorry, not today."

Open = Callable[..., AbstractAsyncContextManager[House]]


class Asking:
    """Holds each call, and has it cost what `actual` says; `asked` are those that were sent."""

    def __init__(self, bound: CallBound = CALL, *, actual: tuple[int, int] = (60, 20), outcome: str = "ok") -> None:
        self.bound, self.actual, self.outcome = bound, actual, outcome
        self.asked: list[int | None] = []
        self.record = True
        self.sent = asyncio.Event()
        self.answer = asyncio.Event()
        self.answer.set()

    async def warm(self) -> None: ...

    async def reply(self, context: ReplyContext) -> Reply:
        held = await context.hold(self.bound)
        self.asked.append(held)
        self.sent.set()
        await self.answer.wait()
        call = ModelCall(
            model=self.bound.model, outcome=self.outcome, input_tokens=self.actual[0], output_tokens=self.actual[1],
            hold=held,
        )  # fmt: skip
        if self.record:
            await context.record(call)
        return Reply("yes", self.bound.model)

    async def close(self) -> None: ...


def per(scope: str, period: str = "day", **most: int) -> BudgetRules:
    return BudgetRules(ceilings=(Ceiling(scope=scope, period=period, **most),))


@pytest.fixture
def wall() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def house_with(database: Database | PostgresDatabase, clock: ManualClock, wall: ManualClock) -> Open:
    notices = Notices(
        {silence: {"en": SORRY} if silence is Silence.BUDGET else {} for silence in Silence}, lambda _: "en"
    )

    @asynccontextmanager
    async def opened(
        budgets: BudgetRules, asking: Asking | None = None, handover: HandoverRules = NOBODY_LOOKS,
        airtime: Airtime = unlimited,
    ) -> AsyncIterator[House]:  # fmt: skip
        sentences = Sentences(notices, holding_after=None)
        options: dict[str, Any] = {
            "budgets": budgets,
            "prices": PRICES,
            "wall": wall,
            "sentences": sentences,
            "handover": handover,
            "airtime": airtime,
        }
        async with open_house(database, clock, **options) as house:
            house.responder.instead = asking or Asking()
            yield house

    return opened


async def spending(house: House) -> dict[tuple[str, str], tuple[int, ...]]:
    """Tokens and cost, spent and held, by scope and period."""
    rows = await house.rows("SELECT scope, period, tokens, tokens_held, cost, cost_held FROM spending")
    return {(scope.partition(":")[0], period): tuple(numbers) for scope, period, *numbers in rows}


async def test_what_a_request_has_cost_takes_the_place_of_what_was_held(house_with: Open) -> None:
    asking = Asking(actual=(30, 5))
    asking.answer.clear()
    async with house_with(per("contact", tokens=1000), asking) as house:
        await house.hear("hello")
        answering = asyncio.ensure_future(house.step())
        await asking.sent.wait()
        assert await spending(house) == {("contact", "2025-11-26"): (0, 100, 0, 360)}
        asking.answer.set()
        await answering
        assert await spending(house) == {("contact", "2025-11-26"): (35, 0, 110, 0)}
        assert await house.rows(
            "SELECT outcome, input_tokens, output_tokens, cost, currency, day FROM model_calls"
        ) == [("ok", 30, 5, 110, "USD", "2025-11-26")]


async def test_no_request_is_sent_that_could_exceed_a_ceiling(house_with: Open) -> None:
    asking = Asking()
    async with house_with(per("contact", tokens=179), asking) as house:
        for text in ("one", "two", "three"):
            await house.hear(text)
            await house.step()
        assert len(asking.asked) == 1
        assert await house.outcomes() == [("one", "answered"), ("two", None), ("three", None)]


async def test_a_ceiling_in_money_holds_alike(house_with: Open) -> None:
    asking = Asking()
    async with house_with(per("number", "month", cost=320 + 359), asking) as house:
        for text in ("one", "two"):
            await house.hear(text)
            await house.step()
        assert len(asking.asked) == 1
        assert await spending(house) == {("number", "2025-11"): (80, 0, 320, 0)}


async def test_a_persons_ceiling_is_no_other_persons(house_with: Open) -> None:
    asking = Asking()
    async with house_with(per("contact", tokens=100), asking) as house:
        for sender in (ANA, BEN):
            await house.hear("hello", sender=sender)
            await house.step()
        assert len(asking.asked) == 2


@pytest.mark.parametrize("rules", [per("contact", tokens=100), per("number", tokens=100)])
async def test_a_ceiling_is_of_the_number_by_whatsapp_and_by_sms(house_with: Open, rules: BudgetRules) -> None:
    asking = Asking()
    async with house_with(rules, asking) as house:
        for sender, ours in ((ANA, OURS), (ANA_SMS, OUR_SMS)):
            await house.hear("hello", sender=sender, to=ours)
            await house.step()
        assert len(asking.asked) == 1
        lines = [await read_costs(house.database, by, 0) for by in (CostsBy.CONTACT, CostsBy.NUMBER)]
        assert [[line.key for line in found] for found in lines] == [[ANA_SMS], [OUR_SMS]]


async def test_a_numbers_ceiling_is_everybodys(house_with: Open) -> None:
    asking = Asking()
    async with house_with(per("number", tokens=100), asking) as house:
        for sender in (ANA, BEN):
            await house.hear("hello", sender=sender)
            await house.step()
        assert len(asking.asked) == 1


async def test_who_reached_it_is_told_once_a_day(house_with: Open, wall: ManualClock) -> None:
    async with house_with(per("contact", "day", tokens=100)) as house:
        for text in ("one", "two", "three"):
            await house.hear(text)
            await house.step()
        assert house.sent == ["yes", SORRY]


async def test_the_sentence_waits_for_the_numbers_rate_and_no_longer(house_with: Open) -> None:
    """Not for the next look at the budget, ten minutes later."""
    async with house_with(per("contact", tokens=150), airtime=lambda _: 5000) as house:
        for text in ("hello", "and now?"):
            await house.hear(text)
            await house.step()
        assert house.sent == ["yes"]
        house.clock.advance(due := await house.due_in() or 0.0)
        await house.step()
        assert house.sent == ["yes", SORRY]
        assert due <= 5.0


async def test_where_people_of_ours_look_they_answer_instead(house_with: Open) -> None:
    async with house_with(per("contact", tokens=100), handover=HANDOVER) as house:
        for text in ("one", "two"):
            await house.hear(text)
            await house.step()
        assert await house.outcomes() == [("one", "answered"), ("two", "human")]
        assert house.sent == ["yes", "<unable>"]
        assert await house.rows("SELECT owner, handed_reason FROM conversations") == [("waiting", "budget")]


async def test_what_waits_is_answered_on_the_next_day(house_with: Open, wall: ManualClock) -> None:
    asking = Asking()
    async with house_with(per("contact", tokens=100), asking) as house:
        for text in ("one", "two"):
            await house.hear(text)
            await house.step()
        wall.advance(DAY / 2)
        await house.live(601)
        assert await house.outcomes() == [("one", "answered"), ("two", "answered")]
        assert len(asking.asked) == 2


async def test_what_has_waited_for_a_day_is_a_dead_letter_that_can_be_retried(house_with: Open) -> None:
    bound = CallBound(model="test:model", input_tokens=60, most_input_tokens=180, output_tokens=20)
    async with house_with(per("number", "month", tokens=199), Asking(bound)) as house:
        await house.hear("one", sender="+15551230009", to="+15550009999")
        await house.live(DAY + 601)
        [dead] = await house.dead()
        assert dead.error is not None
        assert "what this number may cost this month is used up" in dead.error


@pytest.mark.parametrize(("outcome", "counted"), [("cancelled", 80), ("timeout", 80), ("retryable", 0)])
async def test_a_request_that_was_cut_off_counts_with_what_it_may_have_written(
    house_with: Open, outcome: str, counted: int
) -> None:
    async def reply(context: ReplyContext) -> Reply:
        held = await context.hold(CALL)
        sent, unheard = (60, 20) if counted else (0, 0)
        await context.record(
            ModelCall(model="test:model", outcome=outcome, input_tokens=sent, unheard_tokens=unheard, hold=held)
        )
        return Reply("yes", "test:model")

    asking = Asking()
    asking.reply = reply  # type: ignore[method-assign]
    async with house_with(per("contact", tokens=1000), asking) as house:
        await house.hear("one")
        await house.step()
        assert await spending(house) == {("contact", "2025-11-26"): (counted, 0, counted * 4, 0)}


async def test_what_is_under_way_is_waited_for_instead_of_refused(house_with: Open) -> None:
    asking = Asking(actual=(10, 10))
    asking.answer.clear()
    async with house_with(per("number", tokens=120), asking) as house:
        for sender in (ANA, BEN):
            await house.hear("hello", sender=sender)
        await house.take_in()
        [first, second] = await house.claim(2)
        handling = [asyncio.ensure_future(house.handle(claim)) for claim in (first, second)]
        await asking.sent.wait()
        asking.answer.set()
        await asyncio.gather(*handling)
        assert len(asking.asked) == 2
        assert house.sent == ["yes", "yes"]


async def test_a_request_whose_worker_died_stays_held_until_its_conversations_next_turn(house_with: Open) -> None:
    asking = Asking()
    asking.answer.clear()
    async with house_with(per("contact", tokens=1000), asking) as house:
        await house.hear("one")
        await house.take_in()
        [claim] = await house.claim(1)
        dying = asyncio.ensure_future(house.handle(claim))
        await asking.sent.wait()
        asking.record = False
        dying.cancel()
        await asyncio.wait({dying})
        assert await spending(house) == {("contact", "2025-11-26"): (0, 100, 0, 360)}
        asking.record = True
        asking.answer.set()
        await house.free(claim)
        await house.live(120)
        assert await spending(house) == {("contact", "2025-11-26"): (160, 0, 640, 0)}
        assert await house.rows("SELECT outcome FROM model_calls ORDER BY id") == [("lost",), ("ok",)]


async def test_the_record_of_a_request_that_was_taken_for_lost_corrects_it(
    house_with: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer, "LOOK_INTERVAL", 3600.0)  # the late turn does not see before its answer that it is late
    async with house_with(per("contact", tokens=1000)) as house:
        late = Asking(actual=(1, 1))
        late.answer.clear()
        house.responder.instead = late
        await house.hear("one")
        await house.take_in()
        [claim] = await house.claim(1)
        handling = asyncio.ensure_future(house.handle(claim))
        await late.sent.wait()
        house.responder.instead = Asking()
        await house.free(claim)
        [again] = await house.claim(1)
        await house.handle(again)
        late.answer.set()
        await asyncio.wait({handling})
        assert await spending(house) == {("contact", "2025-11-26"): (82, 0, 332, 0)}


async def test_housekeeping_takes_old_requests_for_lost(house_with: Open) -> None:
    asking = Asking()
    asking.record = False
    async with house_with(per("contact", tokens=1000), asking) as house:
        await house.hear("one")
        await house.step()
        house.clock.advance(3601)
        await house.upkeep("housekeeping")
        assert await spending(house) == {("contact", "2025-11-26"): (80, 0, 320, 0)}


async def test_a_clock_that_jumps_ahead_and_is_set_back_finds_its_budget_as_it_was(
    house_with: Open, wall: ManualClock
) -> None:
    asking = Asking()
    async with house_with(per("number", "month", tokens=100), asking) as house:
        await house.hear("one")
        await house.step()
        wall.advance(70 * DAY)
        await house.upkeep("housekeeping")
        wall.advance(-70 * DAY)
        await house.hear("two")
        await house.step()
        assert len(asking.asked) == 1


async def test_a_ceiling_that_is_new_counts_what_its_period_has_cost(house_with: Open) -> None:
    async with house_with(BudgetRules()) as house:
        await house.hear("one")
        await house.step()
        assert await spending(house) == {}
    both = BudgetRules(ceilings=(*per("contact", tokens=100).ceilings, *per("number", "month", tokens=100).ceilings))
    for _ in range(2):
        async with house_with(both) as house:
            assert await spending(house) == {
                ("contact", "2025-11-26"): (80, 0, 320, 0),
                ("number", "2025-11"): (80, 0, 320, 0),
            }


async def test_a_ceiling_that_is_new_counts_what_a_person_has_cost_by_both(house_with: Open) -> None:
    async with house_with(BudgetRules()) as house:
        for sender, ours in ((ANA, OURS), (ANA_SMS, OUR_SMS), (BEN, OURS)):
            await house.hear("hello", sender=sender, to=ours)
            await house.step()
    rules = BudgetRules(ceilings=(*per("contact", tokens=1000).ceilings, *per("number", tokens=1000).ceilings))
    async with house_with(rules) as house:
        found = await house.rows("SELECT scope, tokens FROM spending ORDER BY scope")
        assert found == [("contact:1", 160), ("contact:3", 80), (f"number:{OUR_SMS}", 240)]


UNPRICED = CallBound(model="own:model", input_tokens=60, most_input_tokens=80, output_tokens=20)


async def test_a_model_without_a_price_costs_tokens_and_unknown_money(house_with: Open) -> None:
    async with house_with(per("contact", tokens=1000), Asking(UNPRICED)) as house:
        await house.hear("one")
        await house.step()
        assert await spending(house) == {("contact", "2025-11-26"): (80, 0, 0, 0)}
        assert await house.rows("SELECT cost FROM model_calls") == [(None,)]


async def test_a_model_without_a_price_is_not_asked_where_a_ceiling_is_one_in_money(house_with: Open) -> None:
    """As an agent inside a tool may have one, which no look at the settings shows."""
    asking = Asking(UNPRICED)
    async with house_with(per("number", "month", cost=1_000_000), asking) as house:
        await house.hear("one")
        await house.settle()
        assert (asking.asked, await spending(house)) == ([], {})
        [dead] = await house.dead()
        assert dead.error is not None
        assert dead.error.splitlines()[-1].endswith(
            'what "own:model" costs is not known, so no ceiling in money ([budgets]) can hold. Give it a price in USD '
            "in [[prices]]; 0 where it costs nothing"
        )


async def test_where_people_of_ours_look_they_answer_what_a_model_without_a_price_must_not(house_with: Open) -> None:
    async with house_with(per("contact", cost=1_000_000), Asking(UNPRICED), HANDOVER) as house:
        await house.hear("one")
        await house.settle()
        assert (await house.outcomes(), house.sent) == ([("one", "human")], ["<unable>"])


async def test_a_ceiling_that_is_put_back_counts_what_was_spent_without_it(house_with: Open) -> None:
    month = per("number", "month", tokens=1000)
    async with house_with(month) as house:
        await house.hear("one")
        await house.step()
    async with house_with(BudgetRules()) as house:
        for number in range(20):
            await house.hear(f"free {number}")
            await house.step()
    asking = Asking()
    async with house_with(month, asking) as house:
        await house.hear("another")
        await house.step()
        assert asking.asked == []
        assert {spent[0] for spent in (await spending(house)).values()} == {21 * 80}


async def test_a_worker_that_starts_counts_what_one_without_the_ceiling_has_spent_meanwhile(
    house_with: Open, database: Database | PostgresDatabase, wall: ManualClock
) -> None:
    month = Budgets(database, wall, per("number", "month", tokens=1000))
    async with house_with(BudgetRules()) as house:
        await house.hear("one")
        await house.step()
        await month.begin_counting()
        await house.hear("two")
        await house.step()
        await month.begin_counting()
        assert {spent[0] for spent in (await spending(house)).values()} == {2 * 80}
