"""What a request may cost is held before it is sent, and what it may have cost is told when nobody heard its end."""

from __future__ import annotations

import pytest

from convoq.ai.base import BudgetReached, CallBound
from convoq.errors import ConvoqError
from convoq.loopback.faults import ModelFault
from convoq.loopback.model import LoopbackModel
from tests.ai.conftest import Build, Conversation

LIMIT = 100


async def test_a_request_is_held_with_at_least_what_it_costs(
    build: Build, model: LoopbackModel, conversation: Conversation
) -> None:
    bounds: list[CallBound] = []

    async def hold(bound: CallBound) -> int:
        bounds.append(bound)
        assert model.requests == []
        return 7

    responder = build(model="openai:gpt-test", base_url=model.base_url, api_key="k", max_output_tokens=LIMIT)
    await responder.reply(conversation.context("¿Abrís el domingo? 🙂 !?;:", hold=hold))

    [bound], [call] = bounds, conversation.calls
    assert (bound.model, bound.output_tokens, call.hold) == ("openai:gpt-test", LIMIT, 7)
    # The loopback counts four characters as a token; a provider may count each byte.
    assert bound.most_input_tokens >= sum(len(one.text.encode()) for one in model.requests[0].messages)
    assert bound.most_input_tokens >= call.input_tokens > 0


async def test_what_must_not_be_held_is_not_sent(
    build: Build, model: LoopbackModel, conversation: Conversation
) -> None:
    async def hold(_: CallBound) -> int:
        raise BudgetReached(60, "used up", used_up=True, day="2026-11-26")

    responder = build(model="openai:gpt-test", base_url=model.base_url, api_key="k")
    with pytest.raises(BudgetReached):
        await responder.reply(conversation.context("hello", hold=hold))

    assert model.requests == []
    assert conversation.calls == []


@pytest.mark.parametrize("fault", [ModelFault.TRUNCATED, ModelFault.GARBAGE])
async def test_an_answer_that_did_not_come_whole_may_be_billed(
    build: Build, model: LoopbackModel, conversation: Conversation, fault: ModelFault
) -> None:
    model.mode = fault
    responder = build(model="openai:gpt-test", base_url=model.base_url, api_key="k", max_output_tokens=LIMIT)
    with pytest.raises(ConvoqError):
        await responder.reply(conversation.context("hello"))

    call = conversation.calls[0]
    assert (call.output_tokens, call.unheard_tokens) == (0, LIMIT)
    assert call.input_tokens > 0


@pytest.mark.parametrize("fault", [ModelFault.UNAUTHORIZED, ModelFault.RATE_LIMITED, ModelFault.RESET])
async def test_what_a_provider_turned_down_costs_nothing(
    build: Build, model: LoopbackModel, conversation: Conversation, fault: ModelFault
) -> None:
    model.mode = fault
    responder = build(model="openai:gpt-test", base_url=model.base_url, api_key="k")
    with pytest.raises(ConvoqError):
        await responder.reply(conversation.context("hello"))

    call = conversation.calls[0]
    assert (call.input_tokens, call.output_tokens, call.unheard_tokens) == (0, 0, 0)


async def test_what_never_reached_a_provider_costs_nothing(build: Build, conversation: Conversation) -> None:
    responder = build(model="qwen", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(ConvoqError):
        await responder.reply(conversation.context("hello"))

    call = conversation.calls[0]
    assert (call.input_tokens, call.unheard_tokens) == (0, 0)
