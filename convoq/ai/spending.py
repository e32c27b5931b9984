"""What an answer may cost: every request of its turn counts, whichever agent makes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.settings import ModelSettings

from convoq.ai.base import Allowance, AllowanceSpent, ModelCall
from convoq.ai.context import estimate_tokens
from convoq.ai.failures import ModelFailure

LEAST_TOKENS: Final = 16  #: that providers take as a limit


class Spending:
    """What is left of an allowance. `record` gets every request, on the loop that this was made on.

    `limit`: tokens that a request may write for which its agent says nothing.
    """

    def __init__(self, allowance: Allowance, record: Callable[[ModelCall], Awaitable[None]], *, limit: int) -> None:
        self._requests_left = allowance.requests
        self._tokens_left = allowance.output_tokens
        self._record = record
        self._limit = limit
        self._under_way = 0
        self._promised = 0  # tokens, to what is under way
        self._loop = asyncio.get_running_loop()

    @property
    def is_spent(self) -> bool:
        return self._requests_left <= 0 or self._tokens_left <= 0

    @contextmanager
    def reserved(self, settings: ModelSettings | None) -> Iterator[ModelSettings]:
        """Around a request, beside others at the same time: its settings, with a limit that is not above what is left.

        To be stored before this ends. Raises AllowanceSpent where there may be no further one.
        """
        if self.is_spent or self._requests_left <= self._under_way:
            raise AllowanceSpent("an agent of its own has asked for all that the answer may cost")
        limit = (settings or {}).get("max_tokens") or self._limit
        granted = min(limit, max(self._tokens_left - self._promised, LEAST_TOKENS))
        self._under_way += 1
        self._promised += granted
        try:
            yield {**(settings or {}), "max_tokens": granted}
        finally:
            self._under_way -= 1
            self._promised -= granted

    async def store(
        self,
        model: str,
        messages: Sequence[ModelMessage],
        response: ModelResponse | None,
        failure: ModelFailure | None,
        seconds: float,
    ) -> None:
        sent, received = _tokens(messages, response, failure)
        call = ModelCall(
            model=model,
            outcome=failure.outcome if failure else "ok",
            input_tokens=sent,
            output_tokens=received,
            duration_ms=round(seconds * 1000),
            error=failure.reason if failure else None,
        )
        if call.is_billed:
            self._requests_left -= 1
            self._tokens_left -= call.output_tokens
        if asyncio.get_running_loop() is self._loop:
            await self._record(call)
        else:  # a tool that is no coroutine runs in a thread, and its agents on a loop of their own
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_awaited(self._record(call)), self._loop))


async def _awaited(recording: Awaitable[None]) -> None:
    await recording


def _tokens(
    messages: Sequence[ModelMessage], response: ModelResponse | None, failure: ModelFailure | None
) -> tuple[int, int]:
    if response is not None:
        usage = response.usage
        return usage.input_tokens or _estimate(messages), usage.output_tokens or _estimate([response])
    # A request that was cut off is billed for what it was sent; one that was turned down is not.
    cut_off = failure is not None and failure.outcome in ("timeout", "cancelled")
    return (_estimate(messages) if cut_off else 0), 0


def _estimate(messages: Sequence[ModelMessage]) -> int:
    texts = [
        part.content
        for message in messages
        for part in message.parts
        if isinstance(part, UserPromptPart | TextPart) and isinstance(part.content, str)
    ]
    texts += [message.instructions or "" for message in messages[-1:] if isinstance(message, ModelRequest)]
    return sum(map(estimate_tokens, texts))
