"""What a message may cost: model requests and the tokens that they write, over all attempts, in either dialect."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from convoq.ai import build_responder
from convoq.breaker import SHORTEST
from convoq.conversations.states import Outcome
from convoq.loopback.dialects import ChatMessage, ToolCall
from convoq.loopback.faults import ModelFault
from convoq.loopback.model import LoopbackModel
from convoq.queue.base import JobFilter, JobState
from convoq.settings import AiSettings
from tests.handlers.house import ANA, BEN, MAX_OUTPUT_TOKENS, MAX_REQUESTS, MAX_TRIES, OUR_SMS, House

HOUR = 3600.0


def limits(model: LoopbackModel) -> list[int]:
    """How many tokens each request has allowed."""
    return [one.body.get("max_completion_tokens") or one.body["max_tokens"] for one in model.requests]


def thought(_: Sequence[ChatMessage]) -> str:
    return "<think>" + "hmm, " * 1000


async def test_empty_answers_are_asked_for_six_times_in_all(house: House, model: LoopbackModel) -> None:
    model.mode = ModelFault.EMPTY
    await house.hear("hello")
    await house.settle(patience=HOUR)
    assert len(model.requests) == MAX_REQUESTS
    assert await house.outcomes() == [("hello", Outcome.FAILED)]
    [dead] = await house.dead()
    assert "no answer for 6 model requests" in (dead.error or "")
    assert "ai.max_requests_per_message" in (dead.error or "")


@pytest.mark.parametrize("fault", [ModelFault.GARBAGE, ModelFault.WRONG_TYPES, ModelFault.HTML])
async def test_an_answer_that_cannot_be_read_costs_an_attempt(
    house: House, model: LoopbackModel, fault: ModelFault
) -> None:
    model.mode = fault
    await house.hear("hello")
    await house.settle(patience=HOUR)
    assert len(model.requests) == MAX_TRIES < MAX_REQUESTS
    assert await house.outcomes() == [("hello", Outcome.FAILED)]


def work_in_vain(house: House, model: LoopbackModel, seconds: float) -> None:
    """Each answer is lost when the model has been at work for so long."""

    def lose(_: Sequence[ChatMessage]) -> ModelFault:
        house.clock.advance(seconds)
        return ModelFault.RESET

    model.mode_of = lose


async def test_a_server_that_closes_every_connection_at_once_costs_a_message_nothing(
    house: House, model: LoopbackModel
) -> None:
    model.mode = ModelFault.RESET
    await house.hear("hello")
    await house.live(HOUR - 120)
    assert await house.rows("SELECT outcome, requests, tries FROM messages") == [(None, 0, 0)]
    model.mode = None
    await house.live(300)
    assert house.sent == ["We open at 9."]


async def test_an_answer_that_is_cut_short_counts_as_a_request(house: House, model: LoopbackModel) -> None:
    model.mode = ModelFault.TRUNCATED
    await house.hear("hello")
    await house.live(2 * HOUR)
    assert len(model.requests) == MAX_REQUESTS
    assert await house.outcomes() == [("hello", Outcome.FAILED)]


async def test_what_a_model_had_time_to_write_of_lost_answers_is_bounded(house: House, model: LoopbackModel) -> None:
    work_in_vain(house, model, seconds=60)
    await house.hear("hello")
    await house.live(24 * HOUR)
    assert sum(limits(model)) == MAX_OUTPUT_TOKENS
    assert await house.outcomes() == [("hello", Outcome.FAILED)]


@pytest.mark.parametrize("at_work", [5, 20, 60])
async def test_what_a_message_may_cost_in_lost_answers_lasts_for_an_hour(
    house: House, model: LoopbackModel, at_work: float
) -> None:
    work_in_vain(house, model, at_work)
    await house.hear("hello")
    await house.live(HOUR - 120)
    assert await house.outcomes() == [("hello", None)]
    model.mode_of = None
    await house.live(120)
    assert house.sent == ["We open at 9."]


@pytest.mark.parametrize("at_work", [5, 60])
async def test_an_answer_that_is_lost_once_is_asked_for_again_soon(
    house: House, model: LoopbackModel, at_work: float
) -> None:
    work_in_vain(house, model, at_work)
    await house.hear("hello")
    await house.step()
    model.mode_of = None
    await house.live(2 * at_work + 15)
    assert house.sent == ["We open at 9."]


@pytest.mark.parametrize("model", ["anthropic:claude-test"], indirect=True)
async def test_a_turn_that_a_model_keeps_pausing_ends(house: House, model: LoopbackModel) -> None:
    model.mode = ModelFault.PAUSE
    await house.hear("hello")
    await house.settle(patience=HOUR)
    assert len(model.requests) == MAX_REQUESTS
    assert await house.outcomes() == [("hello", Outcome.FAILED)]


async def test_requests_that_are_cut_off_count(house: House, model: LoopbackModel) -> None:
    await house.hear("hello")
    await house.take_in()
    model.mode = ModelFault.HANG
    turn = asyncio.create_task(house.turn())
    await model.wait_for_requests(1)
    await house.hear_at_once("and?")
    await asyncio.wait_for(model.hung_up.wait(), 5)
    model.mode = None
    await turn
    assert await house.rows("SELECT body, requests FROM messages WHERE direction = 'in' ORDER BY id") == [
        ("hello", 2),
        ("and?", 1),
    ]


async def test_an_answer_of_nothing_but_thoughts_is_asked_for_six_times_in_all(
    house: House, model: LoopbackModel
) -> None:
    model.reply = lambda _: "<think>They greet me. I"
    await house.hear("hello")
    await house.settle(patience=HOUR)
    assert len(model.requests) == MAX_REQUESTS
    assert await house.outcomes() == [("hello", Outcome.FAILED)]


async def test_a_tool_that_does_not_exist_is_asked_for_six_times_in_all(house: House, model: LoopbackModel) -> None:
    model.reply = lambda _: ToolCall("teleport", {"to": "Mars"})
    await house.hear("hello")
    await house.settle(patience=HOUR)
    assert len(model.requests) == MAX_REQUESTS
    assert await house.outcomes() == [("hello", Outcome.FAILED)]


async def test_an_answer_without_use_costs_an_attempt_and_backs_off(house: House, model: LoopbackModel) -> None:
    model.mode = ModelFault.EMPTY
    await house.hear("hello")
    waits = []
    for _ in range(2):
        await house.step()
        waits.append(await house.due_in())
        house.clock.advance(waits[-1] or 0)
    assert waits == [SHORTEST, 2 * SHORTEST]
    assert await house.rows("SELECT tries, failures, requests FROM messages") == [(2, 2, 4)]


async def test_the_reason_stands_with_the_message(house: House, model: LoopbackModel) -> None:
    model.mode = ModelFault.EMPTY
    await house.hear("hello")
    await house.settle(patience=HOUR)
    [(reason,)] = await house.rows("SELECT reason FROM messages")
    assert reason.startswith("no answer for 6 model requests and ")
    assert reason.endswith("its answer is empty")


async def test_what_models_write_for_a_message_is_bounded(house: House, model: LoopbackModel) -> None:
    model.reply, model.mode = thought, ModelFault.CUT
    await house.hear("hello")
    await house.settle(patience=HOUR)
    [(requests, tokens)] = await house.rows("SELECT requests, output_tokens FROM messages")
    assert sum(limits(model)[:2]) == MAX_OUTPUT_TOKENS
    assert requests == len(model.requests) < MAX_REQUESTS + 1
    assert tokens >= MAX_OUTPUT_TOKENS or requests == MAX_REQUESTS
    assert await house.outcomes() == [("hello", Outcome.FAILED)]


async def test_what_a_model_writes_for_a_tool_counts_where_its_server_counts_nothing(
    house: House, model: LoopbackModel
) -> None:
    model.report_usage = False
    model.reply = lambda _: ToolCall("teleport", {"to": "Mars " * 2000})
    await house.hear("hello")
    await house.settle(patience=HOUR)
    assert len(model.requests) < MAX_REQUESTS
    [(tokens,)] = await house.rows("SELECT output_tokens FROM messages")
    assert tokens >= MAX_OUTPUT_TOKENS


async def test_a_model_that_thinks_up_to_its_limit_is_asked_once_more_with_a_larger_one(
    house: House, model: LoopbackModel
) -> None:
    model.fail(ModelFault.CUT)
    model.reply = lambda _: "We open at 9." if len(model.requests) > 1 else "<think>Well"
    await house.hear("hello")
    await house.settle()
    assert house.sent == ["We open at 9."]
    assert limits(model) == [2000, 8000]


async def test_a_larger_limit_that_is_refused_leaves_the_first_reason(house: House, model: LoopbackModel) -> None:
    model.fail(ModelFault.CUT, ModelFault.REJECTED)
    model.reply = lambda _: "<think>Well" if len(model.requests) == 1 else "We open at 9."
    await house.hear("hello")
    await house.settle()
    assert house.sent == ["We open at 9."]
    assert limits(model) == [2000, 8000, 2000]


async def test_an_outage_costs_nothing_of_what_a_message_may_cost(house: House, model: LoopbackModel) -> None:
    model.mode = ModelFault.SERVER_ERROR
    await house.hear("hello")
    for _ in range(20):
        await house.step()
        house.clock.advance(60)
    assert await house.rows("SELECT requests, tries FROM messages") == [(0, 0)]


async def test_a_model_that_hangs_is_an_outage_like_any_other(house: House) -> None:
    async with LoopbackModel(lambda _: "We open at 9.") as model:
        ai = AiSettings(model="openai:gpt-test", base_url=model.base_url, timeout=0.05)
        responder = build_responder(ai, (), base_dir=Path())
        house.responder.instead = responder
        model.mode = ModelFault.HANG
        await house.hear("hello")
        await house.live(HOUR - 1)
        assert await house.rows("SELECT outcome, tries FROM messages") == [(None, 0)]
        model.mode = None
        await house.live(10)
        assert house.sent == ["We open at 9."]
        await responder.close()


async def hanging(house: House, model: LoopbackModel, people: int) -> int:
    """So many people write to a model that hangs for a day; how often it was asked."""
    ai = AiSettings(model="openai:gpt-test", base_url=model.base_url, timeout=0.05)
    responder = build_responder(ai, (), base_dir=Path(), clock=lambda: house.clock.now() / 1000)
    house.responder.instead = responder
    model.mode = ModelFault.HANG
    for number in range(people):
        await house.hear("hello", sender=f"+1555210000{number}", to=OUR_SMS)
    await house.live(24 * HOUR)
    await responder.close()
    return len(model.requests)


async def test_a_model_that_hangs_is_asked_for_one_message_a_bounded_number_of_times(
    house: House, model: LoopbackModel
) -> None:
    assert await hanging(house, model, people=1) == MAX_REQUESTS
    assert await house.outcomes() == [("hello", Outcome.FAILED)]


async def test_a_model_that_hangs_is_asked_by_one_of_several_people_at_a_time(
    house: House, model: LoopbackModel
) -> None:
    people = 4
    assert await hanging(house, model, people) <= people * MAX_REQUESTS
    assert {outcome for _, outcome in await house.outcomes()} == {Outcome.FAILED}


async def test_who_wrote_with_a_costly_message_is_answered_all_the_same(house: House, model: LoopbackModel) -> None:
    model.reply = lambda messages: "" if "poison" in messages[-1].text else "We open at 9."
    await house.hear("poison")
    await house.take_in()
    await house.change("UPDATE messages SET requests = 4")
    await house.hear("hello")
    await house.settle(patience=HOUR)
    assert await house.outcomes() == [("poison", Outcome.FAILED), ("hello", Outcome.ANSWERED)]
    assert house.sent == ["We open at 9."]


async def test_a_dead_letter_that_is_retried_may_cost_as_much_again(house: House, model: LoopbackModel) -> None:
    model.mode = ModelFault.EMPTY
    await house.hear("hello")
    await house.settle(patience=HOUR)
    model.mode = None
    await house.engine.retry_dead(JobFilter(states=(JobState.DEAD,)))
    await house.settle()
    assert house.sent == ["We open at 9."]


async def test_each_person_has_an_allowance_of_their_own(house: House, model: LoopbackModel) -> None:
    model.mode = ModelFault.EMPTY
    for sender in (ANA, BEN):
        await house.hear("hello", sender=sender)
    await house.settle(patience=HOUR)
    assert await house.rows("SELECT requests FROM messages") == [(MAX_REQUESTS,)] * 2
