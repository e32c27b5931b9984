"""Counts the requests of agents that run inside a tool of an agent: they cost the message what its own requests do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import cache, wraps
from typing import Any, Final

from pydantic_ai import Agent
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestContext, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext

from convoq.ai.failures import CANCELLED, ModelFailure, request_failure
from convoq.ai.spending import Spending
from convoq.ai.turn import TurnModel

_SPENDING: Final[ContextVar[Spending | None]] = ContextVar("convoq_spending", default=None)


@contextmanager
def charged_to(spending: Spending) -> Iterator[None]:
    """Every agent that runs inside, also in a task or a thread, is charged to it."""
    _count_runs()
    token = _SPENDING.set(spending)
    try:
        yield
    finally:
        _SPENDING.reset(token)


@cache
def _count_runs() -> None:
    """Once: every run of every agent goes through Agent.iter, and only the class is common to the users' agents."""
    original: Any = Agent.iter

    @wraps(original)
    def counted(
        agent: Agent[Any, Any], *args: Any, capabilities: Sequence[Any] | None = None, **options: Any
    ) -> AbstractAsyncContextManager[Any]:
        if (spending := _SPENDING.get()) is not None:
            capabilities = [*(capabilities or ()), _Counting(spending)]
        result: AbstractAsyncContextManager[Any] = original(agent, *args, capabilities=capabilities, **options)
        return result

    Agent.iter = counted  # type: ignore[method-assign,assignment]  # its overloads can't be repeated by a wrapper


class _Counting(AbstractCapability[Any]):
    def __init__(self, spending: Spending) -> None:
        self._spending = spending

    async def before_model_request(
        self,
        ctx: RunContext[Any],  # noqa: ARG002  # part of the signature
        request_context: ModelRequestContext,
    ) -> ModelRequestContext:
        if isinstance(request_context.model, TurnModel | _CountedModel):  # a tool may hand its own model on
            return request_context
        return replace(request_context, model=_CountedModel(request_context.model, self._spending))


class _CountedModel(WrapperModel):
    def __init__(self, model: Model[Any], spending: Spending) -> None:
        super().__init__(model)
        self._spending = spending

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        async with self._counted(messages, model_settings, model_request_parameters) as (settings, answers):
            answers.append(await self.wrapped.request(messages, settings, model_request_parameters))
        return answers[0]

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        async with (
            self._counted(messages, model_settings, model_request_parameters) as (settings, answers),
            self.wrapped.request_stream(messages, settings, model_request_parameters, run_context) as stream,
        ):
            try:
                yield stream
            finally:
                answers.append(stream.get())

    @asynccontextmanager
    async def _counted(
        self, messages: list[ModelMessage], model_settings: ModelSettings | None, parameters: ModelRequestParameters
    ) -> AsyncGenerator[tuple[ModelSettings, list[ModelResponse]]]:
        """Records the request with the answer that the caller adds, or with what it ended by."""
        started = time.monotonic()
        answers: list[ModelResponse] = []
        failure: ModelFailure | None = None
        async with self._spending.reserved(model_settings, self.model_id, messages, parameters) as reservation:
            try:
                yield reservation.settings, answers
            except asyncio.CancelledError:
                failure = CANCELLED
                raise
            except Exception as error:
                failure = request_failure(error, time.monotonic() - started)
                raise
            finally:
                response = answers[0] if answers else None
                seconds = time.monotonic() - started
                await self._spending.store(reservation, self.model_id, messages, response, failure, seconds)
