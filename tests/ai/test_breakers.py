"""An account that is refused, or a server that is down, is asked by one for all models that are asked there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

import pytest
from pydantic_ai.exceptions import ModelAuthenticationError, ModelHTTPError, ModelTimeoutError

from convoq.ai.base import AnswerLost, Responder
from convoq.ai.breakers import ModelBreakers
from convoq.ai.failures import ModelFailure, request_failure
from convoq.breaker import Breaker, Breakers
from convoq.errors import RetryLater
from convoq.loopback.faults import ModelFault
from convoq.loopback.model import LoopbackModel
from convoq.settings import PersonaSettings
from tests.ai.conftest import Build, Conversation

SHOP = [PersonaSettings(name="shop", model="other")]


async def ask(responder: Responder, persona: str, number: int) -> None:
    context = Conversation().context("hello", persona=persona, conversation_id=number)
    with pytest.raises(RetryLater):
        await responder.reply(context)


@pytest.mark.parametrize("fault", [ModelFault.UNAUTHORIZED, ModelFault.NO_CREDIT])
async def test_an_account_that_is_refused_is_asked_by_one_for_all_its_models(
    build: Build, model: LoopbackModel, fault: ModelFault
) -> None:
    model.mode = fault
    responder = build(SHOP, model="first", base_url=model.base_url, api_key="k")
    for number, persona in enumerate(["default", "shop", "default", "shop", "shop"]):
        await ask(responder, persona, number)
    assert [request.body["model"] for request in model.requests] == ["first", "other"]


async def test_an_own_agents_model_shares_the_account(build: Build, model: LoopbackModel, tmp_path: Path) -> None:
    (tmp_path / "ownbot.py").write_text(
        "from pydantic_ai import Agent\n"
        "from pydantic_ai.models.openai import OpenAIChatModel\n"
        "from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider\n"
        f"provider = OpenAICompatibleProvider('openai-compatible', base_url={model.base_url!r}, api_key='k')\n"
        "agent = Agent(OpenAIChatModel('mine', provider=provider))\n"
    )
    model.mode = ModelFault.UNAUTHORIZED
    personas = [PersonaSettings(name="shop", agent="ownbot:agent")]
    responder = build(personas, model="first", base_url=model.base_url, api_key="k")
    for number, persona in enumerate(["default", "shop", "default", "shop", "shop"]):
        await ask(responder, persona, number)
    assert [request.body["model"] for request in model.requests] == ["first", "mine"]


async def test_an_account_that_is_refused_holds_up_no_other_account(
    build: Build, model: LoopbackModel, other: LoopbackModel
) -> None:
    model.mode = ModelFault.UNAUTHORIZED
    responder = build(
        model="first", base_url=model.base_url, api_key="k", fallback_model="first", fallback_base_url=other.base_url
    )
    for number in range(4):
        reply = await responder.reply(Conversation().context("hello", conversation_id=number))
        assert reply.text == "the fallback speaks"
    assert len(model.requests) < len(other.requests)


async def test_a_model_that_fails_holds_up_no_other_one_of_the_account(build: Build, model: LoopbackModel) -> None:
    responder = build(SHOP, model="first", base_url=model.base_url, api_key="k")
    model.fail(ModelFault.OVERLOADED, ModelFault.OVERLOADED)
    for number in range(3):
        await ask(responder, "default", number)
    reply = await responder.reply(Conversation().context("hello", persona="shop", conversation_id=9))
    assert reply.text == "You said: hello"


async def test_a_server_that_is_down_is_asked_by_one_for_all_its_models(build: Build, model: LoopbackModel) -> None:
    model.mode = ModelFault.RESET
    responder = build(SHOP, model="first", base_url=model.base_url)
    for number, persona in enumerate(["default", "shop", "default", "shop", "shop"]):
        await ask(responder, persona, number)
    assert [request.body["model"] for request in model.requests] == ["first", "other"]


async def test_a_port_that_accepts_and_closes_is_a_server_that_is_down(build: Build) -> None:
    opened = 0

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server:
        responder = build(SHOP, model="first", base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        conversation = Conversation()
        for number, persona in enumerate(["default", "shop", "default", "shop", "shop"]):
            context = conversation.context("hello", persona=persona, conversation_id=number)
            with pytest.raises(RetryLater, match="closed without an answer") as caught:
                await responder.reply(context)
            assert not isinstance(caught.value, AnswerLost)
    assert opened == 2
    assert [call.is_billed for call in conversation.calls] == [False, False]


def test_who_is_turned_away_by_one_leaves_the_others_to_the_next() -> None:
    now = [100.0]
    account, model = Breaker[str](lambda: now[0]), Breaker[str](lambda: now[0])
    for caller in (0, 1):
        account.failed(caller, "refused", 10.0)
        model.failed(caller, "down", 20.0)
    now[0] += 15
    assert Breakers(account, model).admit(2) == (5.0, "down")
    assert account.admit(3) == 0.0


class Refused(ModelHTTPError, ModelAuthenticationError):
    """As the providers' clients raise it."""


@pytest.mark.parametrize(("status", "others_wait"), [(401, True), (403, False)])
async def test_a_key_that_may_not_use_one_model_holds_up_no_other_one(status: int, others_wait: bool) -> None:
    failure = request_failure(Refused(status, "first", {"error": {"message": "no access to this model"}}))
    account: Breaker[ModelFailure] = Breaker(lambda: 0.0)
    breakers = ModelBreakers(account=account, server=Breaker(lambda: 0.0), model=Breaker(lambda: 0.0))
    for conversation in range(4):
        breakers.failed(conversation, failure)
    account.admit(8)  # the one that asks for all
    assert (account.admit(9) > 0) == others_wait


@pytest.mark.parametrize("phase", ["pool", "connect"])
def test_a_server_that_was_not_reached_in_time_has_been_asked_nothing(phase: Literal["pool", "connect"]) -> None:
    failure = request_failure(ModelTimeoutError("first", "timed out", phase=phase))
    assert (failure.outcome, failure.unreachable, failure.unheard) == ("retryable", True, False)
